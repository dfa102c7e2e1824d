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
from lenet_zoo.classify.confidence import none_of_these, refusal
from lenet_zoo.errors import MissingExtraError
from lenet_zoo.scoring.inputs.parquet import NEEDS_PYARROW

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Rows", "checked_totals", "part_path", "read_totals", "schema"]

_KEY = b"lenet_zoo"  # of the metadata of a part's schema
_COUNTS = ("rows", "labelled", "below_min_confidence", "no_digit", "unreadable")


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
        labels: of the network.
        top_k: answers per row.
        min_confidence: a row whose best answer is below this probability is rejected.
    """

    def __init__(self, labels: tuple[str, ...], top_k: int, min_confidence: float) -> None:
        self.labels, self.top_k, self.min_confidence = labels, top_k, min_confidence
        self.keys: list[str] = []
        self.best: list[NDArray[np.int64] | None] = []
        self.confidences: list[NDArray[np.float32] | None] = []
        self.rejected: list[bool] = []
        self.errors: list[str | None] = []

    def add(self, key: str) -> int:
        """A new row; its number."""
        self.keys.append(key)
        self.best.append(None)
        self.confidences.append(None)
        self.rejected.append(False)
        self.errors.append(None)
        return len(self.keys) - 1

    def fail(self, row: int, why: str) -> None:
        self.errors[row] = why

    def reject(self, row: int, why: str) -> None:
        self.errors[row], self.rejected[row] = why, True

    def answer(self, rows: list[int], probabilities: NDArray[np.float32]) -> None:
        """Answer some rows. `probabilities`: float32 len(rows)×classes."""
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top_k]
        confidences = np.take_along_axis(probabilities, best, axis=1)
        rejected = (confidences[:, 0].astype(np.float64) < self.min_confidence).tolist()
        finite = np.isfinite(probabilities.sum(axis=1)).tolist()
        refused = none_of_these(probabilities).tolist()
        for i, row in enumerate(rows):
            if refused[i]:
                self.reject(row, refusal(probabilities[i], self.labels[best[i][0]]))
            elif finite[i]:
                self.best[row], self.confidences[row], self.rejected[row] = best[i], confidences[i], rejected[i]
            else:
                self.fail(row, "the network's answer is not a number")

    def encode(self, job: str, unit: int) -> bytes:
        """The part's file.

        Args:
            job: the job's id.
            unit: the unit's number.
        """
        import pyarrow as pa
        import pyarrow.parquet

        about = {"job": job, "unit": unit, "totals": self._totals()}
        columns = [
            self.keys,
            [self._label(row) for row in range(len(self.keys))],
            [0.0 if one is None else one[0] for one in self.confidences],
            [[] if one is None else [self.labels[i] for i in one] for one in self.best],
            [[] if one is None else one for one in self.confidences],
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

    def _label(self, row: int) -> str | None:
        best = self.best[row]
        return None if best is None or self.rejected[row] else self.labels[best[0]]

    def _totals(self) -> dict[str, Any]:
        """How many rows came out how, and how many have each label."""
        answered = [best is not None for best in self.best]
        counts = Counter(label for row in range(len(self.keys)) if (label := self._label(row)) is not None)
        return {
            "rows": len(self.keys),
            "labelled": sum(counts.values()),
            "below_min_confidence": sum(r and a for r, a in zip(self.rejected, answered, strict=True)),
            "no_digit": sum(r and not a for r, a in zip(self.rejected, answered, strict=True)),
            "unreadable": sum(not r and not a for r, a in zip(self.rejected, answered, strict=True)),
            "labels": {label: counts[label] for label in self.labels},
        }


def read_totals(data: bytes, job: str, unit: int, rows: int, labels: Sequence[str]) -> dict[str, Any] | None:
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


def checked_totals(totals: object, labels: Sequence[str]) -> dict[str, Any]:
    """`totals` as they were read from a file.

    Raises: ValueError unless they are the counts that `Rows` gives, for these labels, and add up.
    """
    if isinstance(totals, dict) and set(totals) == {*_COUNTS, "labels"} and isinstance(totals["labels"], dict):
        (rows, labelled, *rest), each = [totals[name] for name in _COUNTS], totals["labels"].values()
        counts = set(totals["labels"]) == set(labels) and all(
            type(count) is int and count >= 0 for count in (rows, labelled, *rest, *each)
        )
        if counts and sum(each) == labelled and labelled + sum(rest) == rows:  # so that no one of them can be altered
            return totals
    raise ValueError("its totals are not the counts of a job's rows")
