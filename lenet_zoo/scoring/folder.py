"""What lies in a job's folder, and which job it is.

    OUT/
      manifest.json       written last, and only when every row is there
      parts/              part-00000.parquet, …: a unit of the input each
      job/job.json        which job this is
          model.onnx      the network that answers
          units.jsonl     the list of units, while there is work to do
          tries/          what the workers of a cluster have begun, while there is work to do

What is read back is checked: these files may have been damaged or edited.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lenet_zoo._files import atomic_path, naming, parse_json
from lenet_zoo.cards import sha256_of
from lenet_zoo.errors import InputError, ScoringError
from lenet_zoo.scoring.inputs import Input, Unit

FORMAT = "lenet_zoo.score/1"

_OURS = {"manifest.json", "parts", "job", ".lock"}
_STAGED = ".job-"
_PARTS = ("model", "input", "options")  # of job.json


def model_path(out: Path) -> Path:
    """The network that answers."""
    return out / "job" / "model.onnx"


def tries_folder(out: Path) -> Path:
    """Where an engine notes what its workers have begun."""
    return out / "job" / "tries"


def _units_path(out: Path) -> Path:
    return out / "job" / "units.jsonl"


# ---------------------------------------------------------------------------------------------------- which job it is


def describe_job(model: dict[str, Any], listed: Input, options: dict[str, Any]) -> dict[str, Any]:
    """A job as job.json has it, but for the checksum of its network.

    Its id is a hash of the rest: jobs with the same id give the same rows.
    """
    identity = {"format": FORMAT, "model": model, "input": listed.describe(), "options": options}
    return {"id": _id_of(identity), **identity}


def _id_of(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def read_job(out: Path) -> dict[str, Any] | None:
    """The job that a folder holds, as `describe_job` gave it, with `onnx_sha256` of its network; None if there is none.

    Jobs of earlier versions have no `onnx_sha256`.

    Raises: OSError; ScoringError for a job.json that is damaged, or of another version of lenet-zoo.
    """
    path = out / "job" / "job.json"
    try:
        job = parse_json(path.read_bytes())
        if not isinstance(job, dict) or not isinstance(job.get("format"), str):
            raise ValueError("it is not a job's description")
        if job["format"] != FORMAT:
            raise ValueError(f"it has format {job['format']!r}, and this version of lenet-zoo reads {FORMAT!r}")
        if not all(isinstance(job.get(part), dict) for part in _PARTS):
            raise ValueError(f"it lacks one of {', '.join(_PARTS)}")
        if not all(type(job["input"].get(name)) is int for name in ("files", "bytes", "rows")):
            raise ValueError("its input has no usable sizes")
        checksum = {"onnx_sha256": job.pop("onnx_sha256")} if "onnx_sha256" in job else {}
        if job.pop("id", None) != (found := _id_of(job)):
            raise ValueError("it was altered: its id is not the hash of the rest")
        return {"id": found, **job, **checksum}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ScoringError(
            f"{path} cannot be used: {error}; name another folder with --out, or delete {out} yourself"
        ) from None


def check_network(out: Path, job: dict[str, Any]) -> None:
    """Compare the network in a folder with the checksum in `job`, which was read there.

    Raises: OSError; ScoringError when they differ.
    """
    path = model_path(out)
    if "onnx_sha256" in job and sha256_of(path) != job["onnx_sha256"]:
        raise ScoringError(
            f"{path} was damaged or altered since the job began: name another folder with --out, or begin anew with "
            "--overwrite"
        )


def clear(out: Path) -> None:
    """Remove a job, the manifest first. What is not a job's stays, and `claim` names it."""
    if read_job(out) is None:
        return
    (out / "manifest.json").unlink(missing_ok=True)
    if (out / "parts").exists():
        shutil.rmtree(out / "parts")
    # What says which job this is goes in one step: of a process that is killed here, `claim` removes the rest.
    gone = out / f"{_STAGED}{os.urandom(8).hex()}"
    (out / "job").rename(gone)
    shutil.rmtree(gone)


def claim(out: Path, job: dict[str, Any], network: Path) -> None:
    """Make the folder this job's, or find that it is.

    Args:
        out: the folder, which exists.
        job: from `describe_job`.
        network: the ONNX file, to be copied.

    Raises: InputError when the folder holds another job, or other files; ScoringError when its network was altered.
    """
    for abandoned in out.glob(f"{_STAGED}*"):  # by a process that was killed here
        shutil.rmtree(abandoned, ignore_errors=True)
    begun = read_job(out)
    if begun is None:
        with suppress(OSError):  # of such a process as well; another's files may be in it
            (out / "parts").rmdir()
    foreign = sorted(entry.name for entry in out.iterdir() if begun is None or entry.name not in _OURS)
    if foreign := [name for name in foreign if name != ".lock"]:
        shown = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise InputError(f"{out} holds other files ({shown}): name a new or an empty folder with --out")
    if begun is not None:
        if begun["id"] != job["id"]:
            raise InputError(_difference(out, begun, job))
        check_network(out, begun)
        drop_unfinished(out)
        return
    # Not mkdtemp, whose folders are private: workers on a cluster may be other users.
    staged = out / f"{_STAGED}{os.urandom(8).hex()}"
    staged.mkdir()
    try:
        with naming(model_path(out)):  # copyfile would name the file that it reads
            (staged / "model.onnx").write_bytes(network.read_bytes())
        whole = {**job, "onnx_sha256": sha256_of(staged / "model.onnx")}
        (staged / "job.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for file in staged.iterdir():
            with file.open("rb+") as synced:
                os.fsync(synced.fileno())
        (out / "parts").mkdir(exist_ok=True)
        staged.rename(out / "job")
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        if (out / "parts").is_dir() and not (out / "job").exists():
            (out / "parts").rmdir()
        raise


def _difference(out: Path, begun: dict[str, Any], job: dict[str, Any]) -> str:
    """How the job in the folder differs from the one that was asked for."""
    differences = []
    for part in _PARTS:
        for name in job[part]:
            old, new = begun[part].get(name), job[part][name]
            if old != new and name not in ("sha256", "weights_sha256", "fingerprint"):
                differences.append(f"{name} {old} and not {new}")
    if not differences and begun["model"] != job["model"]:
        differences.append(f"a model {job['model']['name']} with other weights")
    remedy = "name another folder with --out, or begin anew with --overwrite"
    if begun["model"] == job["model"] and begun["options"] | {"part_rows": 0} == job["options"] | {"part_rows": 0}:
        same = ("name", "kind", "column", "key")
        if all(begun["input"].get(name) == job["input"][name] for name in same) and begun["input"] != job["input"]:
            before, now = (one["input"] for one in (begun, job))
            return (
                f"{now['name']} has changed since the job in {out} was started: {before['rows']:,} rows in "
                f"{before['bytes']:,} bytes then, {now['rows']:,} in {now['bytes']:,} bytes now, or newer files; "
                f"{remedy}"
            )
    return f"{out} holds another job ({', '.join(differences)}): {remedy}"


# ---------------------------------------------------------------------------------------------------------- its work


def prepare_work(out: Path, listed: Input) -> None:
    """Write the list of units, one a line, which follows from the input; an earlier run's is not trusted."""
    with atomic_path(_units_path(out)) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for unit in listed.units():
            stream.write(json.dumps(unit) + "\n")
    shutil.rmtree(tries_folder(out), ignore_errors=True)
    tries_folder(out).mkdir()


def units(out: Path) -> Iterator[tuple[int, int, int]]:
    """Of each unit: its number, where its line stands in the list, and its rows."""
    with _units_path(out).open("rb") as stream:
        offset = 0
        for unit, line in enumerate(stream):
            yield unit, offset, _read_unit(out, unit, line)["rows"]
            offset += len(line)


def read_unit_at(out: Path, unit: int, offset: int) -> Unit:
    """The unit of that number, whose line stands at `offset`.

    Raises: OSError; ScoringError for a list that was damaged since this run began.
    """
    with _units_path(out).open("rb") as stream:
        stream.seek(offset)
        return _read_unit(out, unit, stream.readline())


def _read_unit(out: Path, unit: int, line: bytes) -> Unit:
    why = f"{_units_path(out)} was damaged, at unit {unit}: start the same command again, to write it anew"
    try:
        found: Unit = json.loads(line)  # not `parse_json`: what is not UTF-8 in a name is half of a surrogate pair here
        files = found["files"] if "files" in found else [found["file"]]
        numbers = [found["rows"], found.get("start", 0)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ScoringError(why) from None
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ScoringError(why)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ScoringError(why)
    return found


def drop_unfinished(out: Path) -> None:
    """Remove the parts that writers were killed in."""
    for half in (out / "parts").glob(".part-*"):
        half.unlink(missing_ok=True)


def tidy(out: Path) -> None:
    """Remove what is needed only while there is work to do."""
    _units_path(out).unlink(missing_ok=True)
    shutil.rmtree(tries_folder(out), ignore_errors=True)
