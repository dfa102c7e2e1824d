"""Score one unit and write its part: the work of every worker, on either engine."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from lenet_zoo._files import write_atomic
from lenet_zoo.errors import DataError, InputError, NoDigitError, ScoringError
from lenet_zoo.scoring import folder
from lenet_zoo.scoring.answering import answering
from lenet_zoo.scoring.inputs import Unit, read_unit
from lenet_zoo.scoring.inputs.kind import reason
from lenet_zoo.scoring.parts import Rows, part_path

__all__ = ["STAGES", "Result", "Scorer"]

STAGES = ("read", "prepare", "network", "write")
Result = dict[str, Any]
"""unit, rows, the seconds of each of `STAGES`, and error: None, or why the job cannot go on."""


class Scorer:
    """Scores units of the job in a folder, one at a time. The same unit gives the same bytes everywhere.

    Args:
        root: the folder that the input's names are relative to.
        out: the job's folder.
    """

    def __init__(self, root: str, out: str) -> None:
        import pyarrow.parquet  # noqa: F401  so that the first unit's seconds do not hold its import

        self.root, self.out = Path(root), Path(out)
        why: str | None = "no such file"
        try:
            job = folder.read_job(self.out)
        except OSError as error:
            job, why = None, error.strerror
        if job is None:
            raise ScoringError(
                f"a worker on {platform.node()} cannot read the job in {out} ({why}): on a cluster, input and output "
                "must be on storage that every machine sees under the same path"
            )
        folder.check_network(self.out, job)
        self.job = job
        self.network = answering(folder.model_path(self.out), job["options"])

    def __call__(self, unit: int, offset: int) -> Result:
        """Score the unit that stands at `offset` of the job's list, and write its part."""
        seconds = dict.fromkeys(STAGES, 0.0)
        result = self.failed(unit, None)
        path = part_path(self.out, unit)
        try:
            described = folder.read_unit_at(self.out, unit, offset)
            result["rows"] = described["rows"]
            if not path.exists():  # else a worker that was given up has finished this unit after all
                rows = self._score(described, seconds)
                start = time.perf_counter()
                write_atomic(path, rows.encode(self.job["id"], unit))
                seconds["write"] += time.perf_counter() - start
        except (DataError, ScoringError) as error:
            result["error"] = str(error)
        except OSError as error:
            result["error"] = f"{path}: {reason(error)}"
        return result | seconds

    @staticmethod
    def failed(unit: int, error: str | None) -> Result:
        """The result of a unit of which nothing is done."""
        return {"unit": unit, "rows": 0, "error": error, **dict.fromkeys(STAGES, 0.0)}

    def _score(self, unit: Unit, seconds: dict[str, float]) -> Rows:
        described = self.job["input"]
        rows = Rows(self.network.labels)
        source = read_unit(self.root, described["kind"], unit, self.network.size, described["column"], described["key"])
        found: dict[int, Any] = {}
        as_pixels: set[int] = set()  # rows that came as pixels, so that nobody has looked for a character in them
        while True:
            start = time.perf_counter()
            key, content = next(source, (None, ""))
            read = time.perf_counter()
            seconds["read"] += read - start
            if key is None or len(found) == self.network.batch:
                if found:
                    self.network.answer(rows, found, as_pixels)
                    found = {}
                    seconds["network"] += time.perf_counter() - read
                if key is None:
                    return rows
            row = rows.add(key)
            if isinstance(content, str):
                rows.fail(row, content)
            elif isinstance(content, np.ndarray):
                found[row] = content
                as_pixels.add(row)
            else:
                start = time.perf_counter()
                try:
                    found[row] = self.network.prepare(content)
                except NoDigitError as error:
                    rows.reject(row, " ".join(str(error).split()))
                except InputError as error:
                    rows.fail(row, " ".join(str(error).split()))
                except Exception as error:  # one picture among a million must not end the job
                    rows.fail(row, " ".join(f"the picture cannot be used: {type(error).__name__}: {error}".split()))
                seconds["prepare"] += time.perf_counter() - start
