"""From a unit of work to a part of the output: what every worker does, whichever engine it works for."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo._files import write_atomic
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.errors import DataError, InputError, MissingExtraError, NoDigitError, ScoringError
from lenet_zoo.scoring.inputs import read_unit
from lenet_zoo.scoring.inputs.parquet import NEEDS_PYARROW

if TYPE_CHECKING:
    import pyarrow

__all__ = ["STAGES", "Result", "Scorer", "part_path", "schema", "tries_folder"]

STAGES = ("read", "prepare", "network", "write")
Result = dict[str, Any]
"""unit, rows, the seconds of each of `STAGES`, and error: None, or why the job cannot go on."""

_BATCH = 512  # pictures that go through the network at once


def part_path(out: Path, unit: int) -> Path:
    """The file of a unit's rows."""
    return out / "parts" / f"part-{unit:05d}.parquet"


def tries_folder(out: Path) -> Path:
    """Where an engine notes what its workers have begun."""
    return out / "job" / "tries"


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


class Scorer:
    """Scores units of the job in a folder, one at a time. The same unit gives the same bytes everywhere.

    Args:
        root: the folder that the input's names are relative to.
        out: the job's folder.
    """

    def __init__(self, root: str, out: str) -> None:
        import pyarrow.parquet  # noqa: F401  takes its time before the first unit, not within

        self.root, self.out = Path(root), Path(out)
        try:
            self.job = json.loads((self.out / "job" / "job.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise ScoringError(
                f"a worker on {platform.node()} cannot read the job in {out} ({error.strerror}): on a cluster, "
                "input and output must be on storage that every machine sees under the same path"
            ) from None
        # Whatever accelerators a worker's machine has, the network is the least part of the work, and the CPU's rows
        # are the same everywhere.
        self.classifier = OnnxClassifier(self.out / "job" / "model.onnx", threads=1, providers=["CPUExecutionProvider"])

    def __call__(self, unit: int, offset: int) -> Result:
        """Score the unit that stands at `offset` of the job's list, and write its part."""
        seconds = dict.fromkeys(STAGES, 0.0)
        result = self.failed(unit, None)
        path = part_path(self.out, unit)
        try:
            with (self.out / "job" / "units.jsonl").open("rb") as units:
                units.seek(offset)
                described = json.loads(units.readline())
            result["rows"] = described["rows"]
            if not path.exists():  # else another try at this unit has come to its end after all
                rows = self._score(described, seconds)
                start = time.perf_counter()
                write_atomic(path, self._encode(unit, rows))
                seconds["write"] += time.perf_counter() - start
        except DataError as error:
            result["error"] = str(error)
        except OSError as error:
            result["error"] = f"{path}: {(error.strerror or str(error)).lower()}"
        return result | seconds

    @staticmethod
    def failed(unit: int, error: str | None) -> Result:
        """The result of a unit of which nothing is done."""
        return {"unit": unit, "rows": 0, "error": error, **dict.fromkeys(STAGES, 0.0)}

    def _score(self, unit: dict[str, Any], seconds: dict[str, float]) -> _Rows:
        described = self.job["input"]
        rows = _Rows(self.classifier.labels, self.job["options"]["top_k"], self.job["options"]["min_confidence"])
        source = read_unit(
            self.root, described["kind"], unit, self.classifier.size, described["column"], described["key"]
        )
        found: dict[int, NDArray[np.uint8]] = {}
        while True:
            start = time.perf_counter()
            key, content = next(source, (None, ""))
            read = time.perf_counter()
            seconds["read"] += read - start
            if key is None or len(found) == _BATCH:
                if found:
                    rows.answer(list(found), self.classifier.predict_array(np.stack(list(found.values()))))
                    found = {}
                    seconds["network"] += time.perf_counter() - read
                if key is None:
                    return rows
            row = rows.add(key)
            if isinstance(content, str):
                rows.fail(row, content)
            elif isinstance(content, np.ndarray):
                found[row] = content
            else:
                start = time.perf_counter()
                try:
                    found[row] = self.classifier.prepare(content)
                except NoDigitError as error:
                    rows.reject(row, " ".join(str(error).split()))
                except InputError as error:
                    rows.fail(row, " ".join(str(error).split()))
                except Exception as error:  # one picture among a million must not end the job
                    rows.fail(row, " ".join(f"the picture cannot be used: {type(error).__name__}: {error}".split()))
                seconds["prepare"] += time.perf_counter() - start

    def _encode(self, unit: int, rows: _Rows) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet

        about = {"job": self.job["id"], "unit": unit, "totals": rows.totals()}
        table = rows.table(schema().with_metadata({"lenet_zoo": json.dumps(about)}))
        sink = pa.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink, compression="zstd")
        data: bytes = sink.getvalue().to_pybytes()
        return data


class _Rows:
    """The answers to one unit."""

    def __init__(self, labels: tuple[str, ...], top_k: int, min_confidence: float) -> None:
        self.labels, self.top_k, self.min_confidence = labels, top_k, min_confidence
        self.keys: list[str] = []
        self.best: list[NDArray[np.int64] | None] = []
        self.confidences: list[NDArray[np.float32] | None] = []
        self.rejected: list[bool] = []
        self.errors: list[str | None] = []

    def add(self, key: str) -> int:
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
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top_k]
        confidences = np.take_along_axis(probabilities, best, axis=1)
        rejected = (confidences[:, 0].astype(np.float64) < self.min_confidence).tolist()
        for i, row in enumerate(rows):
            self.best[row], self.confidences[row], self.rejected[row] = best[i], confidences[i], rejected[i]

    def _label(self, row: int) -> str | None:
        best = self.best[row]
        return None if best is None or self.rejected[row] else self.labels[best[0]]

    def table(self, schema: pyarrow.Schema) -> pyarrow.Table:
        import pyarrow as pa

        columns = [
            self.keys,
            [self._label(row) for row in range(len(self.keys))],
            [0.0 if one is None else one[0] for one in self.confidences],
            [[] if one is None else [self.labels[i] for i in one] for one in self.best],
            [[] if one is None else one for one in self.confidences],
            self.rejected,
            self.errors,
        ]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema)

    def totals(self) -> dict[str, Any]:
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
