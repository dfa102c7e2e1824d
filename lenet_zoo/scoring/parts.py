"""A part of the output: the answers to one unit, as a Parquet file that says which unit of which job it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo._files import parse_json
from lenet_zoo.errors import MissingExtraError
from lenet_zoo.scoring.inputs.parquet import NEEDS_PYARROW

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Rows", "add_totals", "checked_totals", "no_totals", "part_path", "read_totals", "schema"]

_KEY = b"lenet_zoo"  # of the metadata of a part's schema
_COUNTS = ("rows", "labelled", "below_min_confidence", "no_digit", "unreadable")
_LABELS, _LENGTHS = "labels", "lengths"  # of the totals: rows by label, or by the number of digits


def part_path(out: Path, unit: int) -> Path:
    """The file of a unit's rows."""
    return out / "parts" / f"part-{unit:05d}.parquet"


def schema() -> pyarrow.Schema:
    """The columns of every part; docs/score.md says what they mean.

    Raises: MissingExtraError without pyarrow.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError(NEEDS_PYARROW) from error
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("confidence", pa.float32(), nullable=False),
            pa.field("labels", pa.list_(pa.field("element", pa.string())), nullable=False),
            pa.field("confidences", pa.list_(pa.field("element", pa.float32())), nullable=False),
            pa.field("rejected", pa.bool_(), nullable=False),
            pa.field("error", pa.string()),
        ]
    )


class Rows:
    """The answers to one unit. A row is added first; then it is answered, rejected, or fails.

    Args:
        labels: all that can be answered; None when there is no end of them, as of numbers.
    """

    def __init__(self, labels: Sequence[str] | None) -> None:
        self.known = labels
        self.keys: list[str] = []
        self.label: list[str | None] = []
        self.confidence: list[float] = []
        self.labels: list[Sequence[str]] = []
        self.confidences: list[Sequence[float] | NDArray[np.float32]] = []
        self.rejected: list[bool] = []
        self.errors: list[str | None] = []

    def add(self, key: str) -> int:
        """A new row; its number."""
        self.keys.append(key)
        self.label.append(None)
        self.confidence.append(0.0)
        self.labels.append([])
        self.confidences.append([])
        self.rejected.append(False)
        self.errors.append(None)
        return len(self.keys) - 1

    def fail(self, row: int, why: str) -> None:
        self.errors[row] = why

    def reject(self, row: int, why: str) -> None:
        self.errors[row], self.rejected[row] = why, True

    def answer(
        self,
        row: int,
        label: str | None,
        confidence: float,
        labels: Sequence[str],
        confidences: Sequence[float] | NDArray[np.float32],
    ) -> None:
        """Answer a row. The arguments are its columns; without a label it is rejected, as it is not sure enough."""
        self.label[row], self.confidence[row], self.rejected[row] = label, confidence, label is None
        self.labels[row], self.confidences[row] = labels, confidences

    def encode(self, job: str, unit: int) -> bytes:
        """The part's file.

        Args:
            job: the job's id.
            unit: the unit's number.
        """
        import pyarrow as pa
        import pyarrow.parquet

        about = {"job": job, "unit": unit, "totals": self.totals()}
        columns = [
            self.keys,
            self.label,
            self.confidence,
            self.labels,
            self.confidences,
            self.rejected,
            self.errors,
        ]
        described = schema().with_metadata({_KEY: json.dumps(about)})
        arrays = [pa.array(values, field.type) for values, field in zip(columns, described, strict=True)]
        sink = pa.BufferOutputStream()
        table = pa.Table.from_arrays(arrays, schema=described)
        pyarrow.parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def totals(self) -> dict[str, Any]:
        """How many rows came out how, and how many have each label; of numbers, how many have so many digits."""
        answered = [len(labels) > 0 for labels in self.labels]
        found = [label for label in self.label if label is not None]
        if self.known is None:
            lengths = Counter(len(label.replace("\n", "")) for label in found)  # of several lines, all digits
            each = {_LENGTHS: {str(length): lengths[length] for length in sorted(lengths)}}
        else:
            counts = Counter(found)
            each = {_LABELS: {label: counts[label] for label in self.known}}
        return {
            "rows": len(self.keys),
            "labelled": len(found),
            "below_min_confidence": sum(r and a for r, a in zip(self.rejected, answered, strict=True)),
            "no_digit": sum(r and not a for r, a in zip(self.rejected, answered, strict=True)),
            "unreadable": sum(not r and not a for r, a in zip(self.rejected, answered, strict=True)),
            **each,
        }


def no_totals(labels: Sequence[str] | None) -> dict[str, Any]:
    """The totals of no rows."""
    return Rows(labels).totals()


def add_totals(sums: dict[str, Any], totals: dict[str, Any]) -> dict[str, Any]:
    """Two totals of the same network in one."""
    added: dict[str, Any] = {name: sums[name] + totals[name] for name in _COUNTS}
    for name in {_LABELS, _LENGTHS} & set(totals):
        each = Counter(sums[name])
        each.update(totals[name])
        added[name] = {key: each[key] for key in (sorted(each, key=int) if name == _LENGTHS else each)}
    return added


def read_totals(data: bytes, job: str, unit: int, rows: int, labels: Sequence[str] | None) -> dict[str, Any] | None:
    """The totals of a part from its bytes; None if it is not that unit's part of that job, or damaged."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            about = parse_json(file.schema_arrow.metadata[_KEY])
            if (about["job"], about["unit"], file.metadata.num_rows) != (job, unit, rows):
                return None
            if file.read().num_rows != rows:
                return None
        return checked_totals(about["totals"], labels)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def checked_totals(totals: object, labels: Sequence[str] | None) -> dict[str, Any]:
    """`totals` as they were read from a file.

    Raises: ValueError unless they are the counts that `Rows` gives, for these labels, and add up.
    """
    name = _LENGTHS if labels is None else _LABELS
    if isinstance(totals, dict) and set(totals) == {*_COUNTS, name} and isinstance(totals[name], dict):
        (rows, labelled, *rest), each = [totals[count] for count in _COUNTS], totals[name].values()
        known = all(key.isdecimal() for key in totals[name]) if labels is None else set(totals[name]) == set(labels)
        counts = known and all(type(count) is int and count >= 0 for count in (rows, labelled, *rest, *each))
        if counts and sum(each) == labelled and labelled + sum(rest) == rows:  # so that no one of them can be altered
            return totals
    raise ValueError("its totals are not the counts of a job's rows")
