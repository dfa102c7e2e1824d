"""A scoring job from an input to a folder of answers: what `lenet-zoo score` does.

The input is cut into units. A unit's rows appear in the folder as one file, a part, in one step or not at all. So the
parts that are there are the work that is done, and whoever starts the same command again does the rest.
"""

from __future__ import annotations

import hashlib
import operator
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, SupportsIndex

from lenet_zoo._files import one_writer, to_make_room, utf8_name, write_atomic
from lenet_zoo.classify import read_metadata
from lenet_zoo.classify.confidence import check_min_confidence
from lenet_zoo.classify.onnx_file import read_file
from lenet_zoo.errors import InputError, ScoringError
from lenet_zoo.pictures.preparation import LINE
from lenet_zoo.scoring import folder
from lenet_zoo.scoring.answering import KINDS, answering
from lenet_zoo.scoring.inputs import list_input
from lenet_zoo.scoring.inputs.kind import reason
from lenet_zoo.scoring.manifest import read_manifest, write_manifest
from lenet_zoo.scoring.parts import part_path, schema
from lenet_zoo.scoring.scorer import STAGES, Result

__all__ = ["ENGINES", "score"]

ENGINES = ("local", "ray")
DEFAULT_MODELS = {"characters": "lenet5_modern.mnist", "numbers": "lenet5_modern.numbers"}

Progress = Callable[[int, int], None]
Engine = Callable[[str, str, Iterator[tuple[int, int]], int, int | None], Generator[Result, None, None]]
"""Called with root, out, tasks (number and place of a unit), their number, and workers; yields results."""


def score(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    as_: str = "characters",
    expect: int | str | re.Pattern[str] | None = None,
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
        model: an .onnx file, or a network of the zoo, as `lenet_zoo.create_model` takes it; by default
            lenet5_modern.mnist, or lenet5_modern.numbers.
        as_: 'characters', one a picture, or 'numbers', lines of digits as `lenet_zoo.read` reads them.
        expect: of numbers: how many digits they have, or a regular expression, as for `lenet_zoo.read`.
        top_k: answers per picture, best first; by default 3, or all of fewer classes. Not of numbers.
        min_confidence: a picture whose best answer is below this probability is rejected.
        engine: 'local', processes of this machine, or 'ray'.
        address: of a running Ray cluster, HOST:PORT or 'auto'; by default Ray is started on this machine.
        workers: how many units are done at once; by default one per core.
        overwrite: begin anew, whatever job the folder holds.
        progress: called with the rows that are done, and the number of all rows.

    Returns: the manifest's totals; the rows and seconds of this run, and the seconds that workers spent in each stage.

    Raises:
        InputError: arguments and inputs that cannot be used, and a folder that is not this job's.
        ScoringError: the job cannot go on; what is done is kept.
        ArtifactError, UnknownModelError, WeightsError: no such network, or one that cannot be used.
        DataError: a file of the input that is damaged from the start, or gone.
        MissingExtraError: pyarrow or Ray is not installed.
    """
    start = time.perf_counter()
    schema()
    if engine not in ENGINES:
        raise InputError(f"no engine {engine!r}: one of {', '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise InputError(f"address {address!r}: only the engine ray has one")
    if as_ not in KINDS:
        raise InputError(f"nothing can be scored as {as_!r}: one of {', '.join(KINDS)}")
    if expect is not None and as_ != "numbers":
        raise InputError(f"expect={expect!r}: only numbers are expected to be of some form; score them as 'numbers'")
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}: at least 1")
    check_min_confidence(min_confidence)
    # As JSON has them, which knows no numbers of numpy.
    min_confidence, top_k = float(min_confidence), operator.index(top_k) if isinstance(top_k, SupportsIndex) else top_k
    expect = expect.pattern if isinstance(expect, re.Pattern) else expect
    source, out = Path(source), Path(out)
    _check_folders(source, out)
    run, model = _engine(engine, address), model or DEFAULT_MODELS[as_]
    with tempfile.TemporaryDirectory() as scratch:
        path, network = _network(model, out, Path(scratch))
        if overwrite:  # the file may lie in the folder that will be cleared
            path = write_atomic(Path(scratch) / "network.onnx", path.read_bytes())
        _check_reads(model, path, as_)
        answers = answering(path, {"as": as_, "top_k": top_k, "min_confidence": min_confidence, "expect": expect})
        with closing(
            list_input(source, answers.size, kind=kind, column=column, key=key, part_rows=part_rows)
        ) as listed:
            options = {**answers.options, "part_rows": listed.part_rows}
            job = folder.describe_job(network, listed, options)
            with _alone_in(out):
                if overwrite:
                    folder.clear(out)
                folder.claim(out, job, path)
                seconds = {"list": time.perf_counter() - start}
                done: Counter[str] = Counter()
                totals = read_manifest(out, job, answers)
                complete = totals is not None
                if totals is None:
                    folder.prepare_work(out, listed)
                    done = _work(run, listed.root, out, listed.rows, workers, progress)
                    totals = write_manifest(out, job, answers)
    elapsed = time.perf_counter() - start
    return {
        "out": str(out),
        "engine": engine,
        "already_complete": complete,
        **totals,
        "run": {
            "rows": done["rows"],
            "seconds": elapsed,
            "rows_per_second": done["rows"] / elapsed,
            "stages": seconds | {stage: done[stage] for stage in STAGES},
        },
    }


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Make the folder, and keep other processes out of it. An OSError within becomes one line that names the file."""
    try:
        with one_writer(out, ScoringError):
            yield
    except OSError as error:
        raise ScoringError(f"{error.filename or out}: {reason(error)}{to_make_room(error)}") from error


def _engine(name: str, address: str | None) -> Engine:
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


def _network(model: str, out: Path, scratch: Path) -> tuple[Path, dict[str, str]]:
    """The ONNX file, and what the answers depend on: the network's name and a SHA-256.

    The file is the user's, the one that the job in `out` began with, or a new one in `scratch`.
    """
    if model.endswith(".onnx"):
        path = Path(model)
        return path, {"name": utf8_name(path.name), "sha256": hashlib.sha256(read_file(path).data).hexdigest()}
    from lenet_zoo.registry import card_of, load_network

    path, source, where = scratch / "model.onnx", *model.partition(":")[::2]
    if not where:
        card = card_of(model)
        network = {"name": f"{card.architecture}.{card.tag}", "weights_sha256": card.sha256 or ""}
        begun = folder.read_job(out)
        if begun is not None and begun["model"] == network and folder.model_path(out).is_file():
            with suppress(ScoringError):  # it was altered: `claim` says so, unless everything is overwritten
                folder.check_network(out, begun)
                return folder.model_path(out), network
    from lenet_zoo.export import export_onnx

    export_onnx(load_network(model), path, input="pixels")
    if where:  # timm's local-dir:FOLDER, without the folders above it, or hf-hub:REPOSITORY
        name = f"{source}:{utf8_name(Path(where).resolve().name)}" if source == "local-dir" else model
        network = {"name": name, "weights_sha256": read_metadata(path)["weights_sha256"]}
    return path, network


def _check_reads(model: str, path: Path, as_: str) -> None:
    """Raises: InputError for a network that reads the other kind of pictures; ArtifactError as `read_metadata`."""
    numbers = read_metadata(path).get("preparation") == LINE
    if numbers and as_ != "numbers":
        raise InputError(f"{model} reads numbers, not single characters: score its pictures with --as numbers")
    if not numbers and as_ == "numbers":
        raise InputError(
            f"{model} reads single characters, not numbers: take {DEFAULT_MODELS['numbers']}, or leave out --as numbers"
        )


# -------------------------------------------------------------------------------------------------------- the work


def _work(
    run: Engine,
    root: Path,
    out: Path,
    total: int,
    workers: int | None,
    progress: Progress,
) -> Counter[str]:
    """Let the engine do the units whose part is missing. Returns the rows and seconds of this run."""
    missing, rows_missing = 0, 0
    for unit, _, rows in folder.units(out):
        if not part_path(out, unit).exists():
            missing, rows_missing = missing + 1, rows_missing + rows
    progress(total - rows_missing, total)
    tasks = ((unit, offset) for unit, offset, _ in folder.units(out) if not part_path(out, unit).exists())
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
