"""A scoring job from an input to a folder of answers: what `lenet-zoo score` does.

    OUT/
      manifest.json       written last, and only when every row is there
      parts/              part-00000.parquet, …: a unit of the input each
      job/job.json        which job this is; with model.onnx, the network that answers
          units.jsonl     the list of units, while there is work to do

A unit's rows appear as one file in one step, or not at all. So the parts that are there are the work that is done, and
whoever starts the same command again does the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lenet_zoo import cards
from lenet_zoo._files import write_atomic
from lenet_zoo._version import __version__
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.errors import InputError, ScoringError
from lenet_zoo.scoring.inputs import Input, list_input
from lenet_zoo.scoring.scorer import STAGES, Result, part_path, schema, tries_folder

__all__ = ["ENGINES", "score"]

FORMAT = "lenet_zoo.score/1"
ENGINES = ("local", "ray")
DEFAULT_MODEL = "lenet5_modern.mnist"

_OURS = {"manifest.json", "parts", "job", ".lock"}
_STAGED = ".job-"
_TOP_K = 3

Progress = Callable[[int, int], None]


def score(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str = DEFAULT_MODEL,
    top_k: int | None = None,
    min_confidence: float = 0.0,
    kind: str | None = None,
    column: str | None = None,
    key: str | None = None,
    part_rows: int | None = None,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Label a collection of pictures; started again, go on with what is missing.

    The rows do not depend on engine and workers, nor on how often the job was interrupted: the parts are the same to
    the byte.

    Worker processes import the program's main module: a script that calls this needs `if __name__ == "__main__":`.

    Args:
        source: what to read; see `lenet_zoo.scoring.inputs.list_input`, as for `kind`, `column`, `key`, `part_rows`.
        out: the folder of the answers: new, empty, or of the same job.
        model: an .onnx file, or a network of the zoo.
        top_k: answers per picture, best first; by default 3, or all of fewer classes.
        min_confidence: a picture whose best answer is below this probability is rejected.
        engine: 'local', processes of this machine, or 'ray'.
        address: of a running Ray cluster, HOST:PORT or 'auto'; by default Ray is started on this machine.
        workers: how many units are done at once; by default one per core.
        overwrite: begin anew, whatever job the folder holds.
        progress: told of the rows that are done, and how many there are.

    Returns: the manifest's totals; the rows and seconds of this run, and the seconds that workers spent in each stage.

    Raises:
        InputError: arguments and inputs that cannot be used, and a folder that is not this job's.
        ScoringError: the job cannot go on; what is done is kept.
        ArtifactError, UnknownModelError: a network that is none.
        DataError: a file of the input that is damaged from the start, or gone.
        MissingExtraError: pyarrow or Ray is not installed.
    """
    start = time.perf_counter()
    schema()
    if engine not in ENGINES:
        raise InputError(f"no engine {engine!r}: one of {', '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise InputError(f"address {address!r}: only the engine ray has one")
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}: at least 1")
    if not 0 <= min_confidence <= 1:
        raise InputError(f"min_confidence={min_confidence}: a probability, from 0 to 1")
    source, out = Path(source), Path(out)
    _check_folders(source, out)
    run = _engine(engine, address)
    network = _identify(model)
    with tempfile.TemporaryDirectory() as scratch:
        path = _network(model, network, out, Path(scratch))
        if overwrite:  # it may lie in the folder that will be cleared
            path = Path(shutil.copyfile(path, Path(scratch) / "network.onnx"))
        classifier = OnnxClassifier(path, threads=1, providers=["CPUExecutionProvider"])
        if classifier.size[0] != classifier.size[1]:
            raise InputError(f"{model} takes {classifier.size[0]}×{classifier.size[1]} pixels: pictures are square")
        top_k = top_k or min(_TOP_K, len(classifier.labels))
        if not 1 <= top_k <= len(classifier.labels):
            raise InputError(f"top_k={top_k}: from 1 to the network's {len(classifier.labels)} classes")
        with closing(
            list_input(source, classifier.size, kind=kind, column=column, key=key, part_rows=part_rows)
        ) as listed:
            options = {"top_k": top_k, "min_confidence": min_confidence, "part_rows": listed.part_rows}
            identity = {"format": FORMAT, "model": network, "input": listed.describe(), "options": options}
            job = {"id": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(), **identity}
            try:
                out.mkdir(parents=True, exist_ok=True)
                lock = FileLock(out / ".lock", blocking=False)
                with lock:
                    if overwrite:
                        _clear(out)
                    _claim(out, job, listed, path)
                    seconds = {"list": time.perf_counter() - start}
                    manifest = _finished(out)
                    fresh = manifest is None
                    done: Counter[str] = Counter()
                    if manifest is None:
                        done = _work(run, listed.root, out, listed.rows, workers, progress)
                        manifest = _finish(out, job, classifier)
            except Timeout:
                raise ScoringError(f"{out}: another process is at work on this job") from None
            except OSError as error:
                raise ScoringError(f"{error.filename or out}: {(error.strerror or str(error)).lower()}") from error
    elapsed = time.perf_counter() - start
    return {
        "out": str(out),
        "engine": engine,
        "already_complete": not fresh,
        **manifest["totals"],
        "run": {
            "rows": done["rows"],
            "seconds": elapsed,
            "rows_per_second": done["rows"] / elapsed,
            "stages": seconds | {stage: done[stage] for stage in STAGES},
        },
    }


def _engine(name: str, address: str | None) -> Any:
    """The engine's function: (root, out, tasks, number of tasks, workers) → results."""
    if name == "ray":
        from lenet_zoo.scoring.cluster import engine

        return engine(address)
    from lenet_zoo.scoring.local import run

    return run


def _check_folders(source: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: --out names a folder")
    here, there = source.resolve(), out.resolve()
    if here == there:
        raise InputError(f"{out} is the input as well: name another folder with --out")
    if here in there.parents:
        raise InputError(f"{out} lies within the input {source}: its files would be read as input")
    if there in here.parents:
        raise InputError(f"the input {source} lies within {out}: name another folder with --out")


# --------------------------------------------------------------------------------------------------------- network


def _identify(model: str) -> dict[str, str]:
    """What the answers depend on: the name, and the SHA-256 of an ONNX file, or of a network's weights."""
    if model.endswith(".onnx"):
        from lenet_zoo.classify.onnx_file import read_file

        return {"name": Path(model).name, "sha256": hashlib.sha256(read_file(model).data).hexdigest()}
    if model not in cards.names():
        from lenet_zoo.registry import resolve

        model = resolve(model)
    return {"name": model, "weights_sha256": cards.load(model).sha256 or ""}


def _network(model: str, network: dict[str, str], out: Path, scratch: Path) -> Path:
    """The ONNX file: the user's, the one that the job in `out` began with, or a new one."""
    if model.endswith(".onnx"):
        return Path(model)
    begun = _read_job(out)
    if begun is not None and begun["model"] == network and (out / "job" / "model.onnx").is_file():
        return out / "job" / "model.onnx"
    from lenet_zoo.export import export_onnx
    from lenet_zoo.registry import create_model

    return Path(export_onnx(create_model(network["name"], pretrained=True), scratch / "model.onnx", input="pixels"))


# ------------------------------------------------------------------------------------------------------ the folder


def _read_job(out: Path) -> dict[str, Any] | None:
    try:
        job = json.loads((out / "job" / "job.json").read_text(encoding="utf-8"))
        return job if isinstance(job, dict) and job["format"] == FORMAT and job["model"] and job["input"] else None
    except (OSError, ValueError, KeyError):
        return None


def _clear(out: Path) -> None:
    """Remove a job, the manifest first; what is not a job's stays, and `_claim` says so."""
    if _read_job(out) is None:
        return
    (out / "manifest.json").unlink(missing_ok=True)
    for name in ("parts", "job"):
        if (out / name).exists():
            shutil.rmtree(out / name)


def _claim(out: Path, job: dict[str, Any], listed: Input, network: Path) -> None:
    """Make the folder this job's, or find that it is."""
    for abandoned in out.glob(f"{_STAGED}*"):  # of a start that was killed
        shutil.rmtree(abandoned, ignore_errors=True)
    begun = _read_job(out)
    foreign = sorted(entry.name for entry in out.iterdir() if begun is None or entry.name not in _OURS)
    if foreign := [name for name in foreign if name != ".lock"]:
        shown = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise InputError(f"{out} holds other files ({shown}): name a new or an empty folder with --out")
    if begun is not None:
        if begun["id"] != job["id"]:
            raise InputError(_why_not(out, begun, job))
        _drop_abandoned(out)
        for mark in tries_folder(out).glob("*"):
            mark.unlink(missing_ok=True)
        return
    # Not mkdtemp, whose folders are private: workers on a cluster may be other users.
    staged = out / f"{_STAGED}{os.urandom(8).hex()}"
    staged.mkdir()
    try:
        shutil.copyfile(network, staged / "model.onnx")
        with (staged / "units.jsonl").open("w", encoding="utf-8") as stream:
            for unit in listed.units():
                stream.write(json.dumps(unit) + "\n")
        (staged / "job.json").write_text(json.dumps(job, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for file in staged.iterdir():
            with file.open("rb+") as synced:
                os.fsync(synced.fileno())
        (staged / "tries").mkdir()
        (out / "parts").mkdir(exist_ok=True)
        staged.rename(out / "job")
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        if (out / "parts").is_dir() and not (out / "job").exists():
            (out / "parts").rmdir()
        raise


def _why_not(out: Path, begun: dict[str, Any], job: dict[str, Any]) -> str:
    """What tells the job in the folder from the one that was asked for."""
    differences = []
    for part in ("model", "input", "options"):
        for name in job[part]:
            old, new = begun[part].get(name), job[part][name]
            if old != new and name not in ("sha256", "weights_sha256", "fingerprint"):
                differences.append(f"{name} {old} and not {new}")
    if not differences and begun["model"] != job["model"]:
        differences.append(f"a model {job['model']['name']} with other weights")
    remedy = "name another folder with --out, or begin anew with --overwrite"
    if begun["model"] == job["model"] and begun["options"] | {"part_rows": 0} == job["options"] | {"part_rows": 0}:
        same = ("name", "kind", "column", "key")
        if all(begun["input"][name] == job["input"][name] for name in same) and begun["input"] != job["input"]:
            before, now = (one["input"] for one in (begun, job))
            return (
                f"{now['name']} has changed since the job in {out} was started: {before['rows']:,} rows in "
                f"{before['bytes']:,} bytes then, {now['rows']:,} in {now['bytes']:,} bytes now, or newer files; "
                f"{remedy}"
            )
    return f"{out} holds another job ({', '.join(differences)}): {remedy}"


# -------------------------------------------------------------------------------------------------------- the work


def _work(
    run: Callable[..., Generator[Result, None, None]],
    root: Path,
    out: Path,
    total: int,
    workers: int | None,
    progress: Progress,
) -> Counter[str]:
    """Let the engine do the units whose part is missing; the rows and seconds of this run."""
    missing, rows_missing = 0, 0
    for unit, _, rows in _units(out):
        if not part_path(out, unit).exists():
            missing, rows_missing = missing + 1, rows_missing + rows
    progress(total - rows_missing, total)
    tasks = ((unit, offset) for unit, offset, _ in _units(out) if not part_path(out, unit).exists())
    sums: Counter[str] = Counter()
    if not missing:
        return sums
    with closing(run(os.path.abspath(root), os.path.abspath(out), tasks, missing, workers)) as results:
        for result in results:
            if result["error"]:
                done = f"{total - rows_missing + sums['rows']:,} of {total:,} rows are done and kept"
                raise ScoringError(f"{result['error']}; {done}: start the same command again to go on")
            for name in ("rows", *STAGES):
                sums[name] += result[name]
            progress(total - rows_missing + int(sums["rows"]), total)
    return sums


def _units(out: Path) -> Iterator[tuple[int, int, int]]:
    """Number, place in the list, and rows of each unit."""
    with (out / "job" / "units.jsonl").open("rb") as stream:
        offset = 0
        for unit, line in enumerate(stream):
            yield unit, offset, int(line[: line.index(b",")].rpartition(b":")[2])  # "rows" comes first
            offset += len(line)


# ----------------------------------------------------------------------------------------------------- the manifest


def _finished(out: Path) -> dict[str, Any] | None:
    """The manifest of a job that is complete, after a look at its parts."""
    try:
        manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    for part in manifest["parts"]:
        path = out / part["file"]
        if not path.is_file() or path.stat().st_size != part["bytes"]:
            raise ScoringError(f"{path} is missing or was altered since the job was complete: use --overwrite")
    _tidy(out)  # a job that was killed between the two leaves it to us
    return manifest


def _finish(out: Path, job: dict[str, Any], classifier: OnnxClassifier) -> dict[str, Any]:
    """Check every part against the list of units, and write the manifest."""
    import pyarrow as pa
    import pyarrow.parquet

    parts: list[dict[str, Any]] = []
    totals: Counter[str] = Counter()
    labels = dict.fromkeys(classifier.labels, 0)
    for unit, _, rows in _units(out):
        path = part_path(out, unit)
        data = path.read_bytes()
        try:
            with pyarrow.parquet.ParquetFile(pa.BufferReader(data)) as file:
                about = json.loads(file.schema_arrow.metadata[b"lenet_zoo"])
                whole = (about["job"], about["unit"], file.metadata.num_rows) == (job["id"], unit, rows)
        except (pa.ArrowException, KeyError, TypeError, ValueError):
            whole = False
        if not whole:
            raise ScoringError(f"{path} is not what this job wrote: delete it, and start the same command again")
        for label, count in about["totals"].pop("labels").items():
            labels[label] += count
        totals.update(about["totals"])
        parts.append(
            {
                "file": path.relative_to(out).as_posix(),
                "rows": rows,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    _drop_abandoned(out)
    extra = {path.name for path in (out / "parts").iterdir()} - {Path(part["file"]).name for part in parts}
    if extra:
        raise ScoringError(f"{out / 'parts' / min(extra)} is not a part of this job: remove it, and start again")
    model = {
        **job["model"],
        "onnx_sha256": hashlib.sha256((out / "job" / "model.onnx").read_bytes()).hexdigest(),
        "metadata": classifier.metadata,
    }
    manifest = {
        "format": FORMAT,
        "complete": True,
        "job": job["id"],
        "input": job["input"],
        "model": model,
        "options": job["options"],
        "columns": {field.name: str(field.type) for field in schema()},
        "totals": {**totals, "labels": labels},
        "versions": {
            "lenet_zoo": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("onnxruntime", "numpy", "pillow", "pyarrow")},
        },
        "parts": parts,
    }
    write_atomic(out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    _tidy(out)
    return manifest


def _drop_abandoned(out: Path) -> None:
    """Remove the halves of parts whose writers were killed."""
    for half in (out / "parts").glob(".part-*"):
        half.unlink(missing_ok=True)


def _tidy(out: Path) -> None:
    (out / "job" / "units.jsonl").unlink(missing_ok=True)
    shutil.rmtree(tries_folder(out), ignore_errors=True)
