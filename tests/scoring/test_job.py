"""A job ends with every input exactly once, whatever happened to it; and it is the job that was asked for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

import lenet_zoo
from lenet_zoo.errors import ArtifactError, InputError, ScoringError
from lenet_zoo.pictures.character import digit_from_grey
from lenet_zoo.scoring import job, local, scorer

from .conftest import Score, files_of, png, rows_of

Digits = NDArray[np.uint8]


def refused(call: Any, *arguments: Any, error: type[Exception] = InputError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path, network: Path) -> Path:
    """What the job on the 300 pictures leaves, in parts of 40, made by two processes."""
    out = tmp_path_factory.mktemp("finished") / "out"
    job.score(pictures, out, model=str(network), part_rows=40, workers=2)
    return out


# ------------------------------------------------------------------------------------------------------------ rows


def test_every_picture_is_a_row_with_the_classifiers_answer(finished: Path, pictures: Path, network: Path) -> None:
    paths = sorted(pictures.rglob("*.png"))
    predicted = lenet_zoo.OnnxClassifier(network).predict(paths, top_k=3)
    rows = rows_of(finished)
    assert [row["key"] for row in rows] == [path.relative_to(pictures).as_posix() for path in paths]
    for row, one in zip(rows, predicted, strict=True):
        assert row["label"] == one.label
        assert row["labels"] == [top.label for top in one.top]
        assert row["confidences"] == pytest.approx([top.confidence for top in one.top], abs=1e-6)
        assert row["confidence"] == row["confidences"][0]
        assert (row["rejected"], row["error"]) == (False, None)


def test_broken_pictures_are_rows(tmp_path: Path, run: Score, digits: Digits) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    whole = png(digits[0])
    (folder / "0-whole.png").write_bytes(whole)
    (folder / "1-text.png").write_text("hello")
    (folder / "2-empty.png").touch()
    (folder / "3-half.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (60, 60), 255).save(folder / "4-blank.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(folder / "5-noise.png")
    (folder / "6-whole.png").write_bytes(whole)
    result = run(folder, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [row["error"] for row in rows] == [
        None,
        "the picture is not a picture of a known format (PNG, JPEG, GIF, BMP, TIFF, WebP …)",
        "the picture is empty (0 bytes)",
        "the picture is a damaged picture: image file is truncated",
        "no digit: the picture is of one tone",
        "no digit: the picture is noise",
        None,
    ]
    assert [row["label"] for row in rows] == ["0", None, None, None, None, None, "0"]
    assert [row["rejected"] for row in rows] == [False, False, False, False, True, True, False]
    for row in rows[1:6]:
        assert (row["confidence"], row["labels"], row["confidences"]) == (0.0, [], [])
    counts = {name: result[name] for name in ("rows", "labelled", "below_min_confidence", "no_digit", "unreadable")}
    assert counts == {"rows": 7, "labelled": 2, "below_min_confidence": 0, "no_digit": 2, "unreadable": 3}
    assert result["labels"] == {str(i): 2 * (i == 0) for i in range(10)}


def test_a_fault_of_ours_on_one_picture_is_a_row(
    tmp_path: Path, run: Score, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lenet_zoo.OnnxClassifier.prepare
    seen: list[int] = []

    def prepare(self: Any, image: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            raise ZeroDivisionError("by nothing")
        return whole(self, image)

    monkeypatch.setattr(lenet_zoo.OnnxClassifier, "prepare", prepare)
    result = run(pictures, tmp_path / "out")
    assert result["unreadable"] == 1
    assert rows_of(tmp_path / "out")[2]["error"] == "the picture cannot be used: ZeroDivisionError: by nothing"


def test_min_confidence_rejects_and_keeps_the_answers(tmp_path: Path, run: Score, pictures: Path) -> None:
    result = run(pictures, tmp_path / "out", min_confidence=0.9, top_k=2)
    rows = rows_of(tmp_path / "out")
    below = [row for row in rows if row["confidence"] < 0.9]
    assert 0 < len(below) == result["below_min_confidence"] < len(rows)
    for row in rows:
        assert row["rejected"] == (row["confidence"] < 0.9)
        assert row["label"] == (None if row["rejected"] else row["labels"][0])
        assert len(row["labels"]) == len(row["confidences"]) == 2
        assert row["error"] is None


def test_a_network_of_the_zoo_is_exported_once(
    tmp_path: Path, run: Score, pictures: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, model="lenet5_modern", part_rows=40, progress=stop_after(100))
    monkeypatch.setattr("lenet_zoo.export.export_onnx", None)
    run(pictures, out, model="lenet5_modern.mnist", part_rows=40)
    assert rows_of(out) == rows_of(finished)
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    card = lenet_zoo.model_card("lenet5_modern.mnist")
    assert manifest["model"]["name"] == "lenet5_modern.mnist"
    assert manifest["model"]["weights_sha256"] == card["sha256"]


# -------------------------------------------------------------------------------------------------------- manifest


def test_the_manifest_says_what_is_there(finished: Path, pictures: Path, network: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text("utf-8"))
    assert list(manifest) == [
        "format", "complete", "job", "input", "model", "options", "columns", "totals", "versions", "parts",
    ]  # fmt: skip
    assert (manifest["format"], manifest["complete"]) == ("lenet_zoo.score/1", True)
    about = manifest["input"]
    assert {name: about[name] for name in ("name", "kind", "files", "rows", "column", "key")} == {
        "name": "scans", "kind": "pictures", "files": 300, "rows": 300, "column": None, "key": None,
    }  # fmt: skip
    assert about["bytes"] == sum(path.stat().st_size for path in pictures.rglob("*.png"))
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    assert manifest["model"]["name"] == "digits.onnx"
    assert manifest["model"]["sha256"] == manifest["model"]["onnx_sha256"] == digest
    assert manifest["model"]["metadata"]["labels"] == list("0123456789")
    assert manifest["options"] == {"top_k": 3, "min_confidence": 0.0, "part_rows": 40}
    assert manifest["totals"]["rows"] == manifest["totals"]["labelled"] == 300
    assert sum(manifest["totals"]["labels"].values()) == 300
    assert sorted(path.name for path in (finished / "parts").iterdir()) == [f"part-{i:05d}.parquet" for i in range(8)]
    for part in manifest["parts"]:
        data = (finished / part["file"]).read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert [part["rows"] for part in manifest["parts"]] == [40] * 7 + [20]
    table = pq.read_table(finished / "parts")  # as a reader does it
    assert {field.name: str(field.type) for field in table.schema} == manifest["columns"]


def test_nothing_tells_of_the_machine(finished: Path, pictures: Path) -> None:
    for name, data in files_of(finished).items():
        assert os.fsencode(pictures.parent) not in data, name
        assert os.fsencode(finished.parent) not in data, name
    assert sorted(path.name for path in finished.iterdir()) == [".lock", "job", "manifest.json", "parts"]
    assert sorted(path.name for path in (finished / "job").iterdir()) == ["job.json", "model.onnx"]


def test_the_same_job_gives_the_same_bytes_whoever_works(
    tmp_path: Path, run: Score, pictures: Path, finished: Path
) -> None:
    moved = tmp_path / "elsewhere" / pictures.name
    shutil.copytree(pictures, moved)  # with the times of the files
    run(moved, tmp_path / "out", part_rows=40)
    assert files_of(tmp_path / "out") == files_of(finished)


# ---------------------------------------------------------------------------------------------------- interruption


def stop_after(rows: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done >= rows:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_job_goes_on_where_it_was(tmp_path: Path, run: Score, pictures: Path, finished: Path) -> None:
    out = tmp_path / "out"
    seen: list[tuple[int, ...]] = []
    for rows in (40, 100, 280):
        with pytest.raises(KeyboardInterrupt):
            run(pictures, out, part_rows=40, progress=stop_after(rows))
        assert not (out / "manifest.json").exists()
    (out / "parts" / ".part-00007-abc.parquet").write_text("half")  # of a writer that was killed

    def leave_another(*now: int) -> None:
        seen.append(now)
        (out / "parts" / f".part-00007-{now[0]}.parquet").write_text("half")

    result = run(pictures, out, part_rows=40, progress=leave_another)
    assert seen == [(280, 300), (300, 300)]
    assert result["run"]["rows"] == 20
    assert files_of(out) == files_of(finished)


def test_a_job_that_is_complete_is_left_alone(tmp_path: Path, run: Score, pictures: Path, finished: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    result = run(pictures, out, part_rows=40)
    assert result["already_complete"]
    assert (result["rows"], result["run"]["rows"]) == (300, 0)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before
    assert files_of(out) == files_of(finished)
    (out / "parts" / "part-00003.parquet").unlink()
    assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
        f"{out}/parts/part-00003.parquet is missing or was altered since the job was complete: use --overwrite"
    )


def test_a_part_that_is_not_ours_is_found(tmp_path: Path, run: Score, pictures: Path, finished: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, part_rows=40, progress=stop_after(280))
    last = out / "parts" / "part-00007.parquet"
    for content in (b"text", (finished / "parts" / "part-00006.parquet").read_bytes()):
        last.write_bytes(content)
        assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
            f"{last} is not what this job wrote: delete it, and start the same command again"
        )
    last.unlink()
    run(pictures, out, part_rows=40)
    assert files_of(out) == files_of(finished)


def start(source: Path, out: Path, network: Path, *options: str) -> subprocess.Popen[str]:
    """The command in a process of its own, as soon as it has written two parts."""
    command = [sys.executable, "-m", "lenet_zoo", "score", str(source), "--out", str(out), "--model", str(network)]
    process = subprocess.Popen(
        [*command, "--part-rows", "5", "--workers", "2", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while len(list(out.glob("parts/part-*"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a job."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not path.exists():
        pytest.skip("the children of a process are found in Linux's /proc")
    children = [int(pid) for pid in path.read_text().split()]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """800 pictures that take a while: 56 pixels wide, to be found first."""
    folder = tmp_path_factory.mktemp("large") / "scans"
    folder.mkdir()
    encoded = [png(255 - np.kron(digit, np.ones((2, 2), np.uint8))) for digit in digits[:40]]
    for i in range(800):
        (folder / f"{i:04d}.png").write_bytes(encoded[i % 40])
    return folder


def complete(source: Path, out: Path) -> None:
    """Every input exactly once, in order."""
    assert (out / "manifest.json").exists()
    assert [row["key"] for row in rows_of(out)] == sorted(path.name for path in source.iterdir())
    assert not list(out.glob("parts/.*"))


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path, large: Path, network: Path) -> None:
    process = start(large, tmp_path / "out", network)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    complete(large, tmp_path / "out")


def test_a_job_that_is_killed_ends_its_workers_and_is_done_by_the_same_command(
    tmp_path: Path, large: Path, network: Path, run: Score
) -> None:
    out = tmp_path / "out"
    process = start(large, out, network)
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers have outlived the job"
        time.sleep(0.05)
    done = len(list(out.glob("parts/part-*")))
    assert not (out / "manifest.json").exists()
    assert 2 <= done < 160
    assert run(large, out, part_rows=5)["run"]["rows"] == 5 * (160 - done)
    complete(large, out)


def test_workers_that_die_again_and_again_end_the_job(
    tmp_path: Path, pictures: Path, run: Score, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, part_rows=40, progress=stop_after(0))
    (out / "job" / "model.onnx").write_bytes(b"")  # no worker can start with that
    broken = the_pool(str(pictures), str(out), iter([(0, 0)]), 1, 1)
    assert refused(lambda: list(broken), error=ScoringError) == (
        "5 worker processes died one after the other, at one of the parts 0: is there memory enough? Fewer --workers "
        "take less"
    )
    capfd.readouterr()


the_pool = local.run  # before a fixture puts another in its place


def test_two_at_once(tmp_path: Path, pictures: Path, run: Score) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        assert refused(run, pictures, tmp_path / "out", error=ScoringError) == (
            f"{tmp_path}/out: another process is at work on this job"
        )


def test_a_full_disk_keeps_what_is_done(
    tmp_path: Path, pictures: Path, run: Score, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    whole = scorer.write_atomic

    def full(path: Path, data: bytes) -> Path:
        if path.name == "part-00002.parquet":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(path, data)

    monkeypatch.setattr(scorer, "write_atomic", full)
    assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
        f"{out}/parts/part-00002.parquet: no space left on device; 80 of 300 rows are done and kept: start the same "
        "command again to go on"
    )
    monkeypatch.setattr(scorer, "write_atomic", whole)
    run(pictures, out, part_rows=40)
    assert files_of(out) == files_of(finished)


def test_a_disk_that_is_full_from_the_start_leaves_nothing(
    tmp_path: Path, pictures: Path, run: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    message = refused(run, pictures, out, error=ScoringError)
    assert message.endswith("model.onnx: no space left on device")
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_an_input_that_vanishes_ends_the_job(
    tmp_path: Path, pictures: Path, run: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "scans"
    shutil.copytree(pictures, source)
    gone = source / "b" / "0200.png"
    assert refused(
        run,
        source,
        tmp_path / "out",
        part_rows=40,
        error=ScoringError,
        progress=lambda *_: gone.unlink(missing_ok=True),
    ) == (
        f"{gone} is gone since the input was listed; 200 of 300 rows are done and kept: start the same command again "
        "to go on"
    )
    shutil.copy2(pictures / "b" / "0200.png", gone)
    run(source, tmp_path / "out", part_rows=40)
    assert len(rows_of(tmp_path / "out")) == 300


# --------------------------------------------------------------------------------------------------- another's job


def test_another_jobs_folder_is_refused(tmp_path: Path, pictures: Path, run: Score, finished: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    before = files_of(out)
    remedy = "name another folder with --out, or begin anew with --overwrite"
    assert refused(run, pictures, out, part_rows=40, top_k=5) == (
        f"{out} holds another job (top_k 3 and not 5): {remedy}"
    )
    assert refused(run, pictures, out, part_rows=50, min_confidence=0.5) == (
        f"{out} holds another job (min_confidence 0.0 and not 0.5, part_rows 40 and not 50): {remedy}"
    )
    assert refused(run, pictures, out, part_rows=40, model="lenet5_classic.mnist") == (
        f"{out} holds another job (name digits.onnx and not lenet5_classic.mnist): {remedy}"
    )
    assert refused(run, pictures / "a", out, part_rows=40) == (
        f"{out} holds another job (name scans and not a, files 300 and not 150, bytes "
        f"{size_of(pictures):} and not {size_of(pictures / 'a')}, rows 300 and not 150): {remedy}"
    )
    assert files_of(out) == before
    run(pictures / "a", out, part_rows=40, overwrite=True)
    assert len(rows_of(out)) == 150
    assert len(list((out / "parts").iterdir())) == 4


@pytest.mark.parametrize("model", ["lenet5_modern", "out/job/model.onnx"])
def test_beginning_anew_keeps_the_network_that_lies_in_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, run: Score, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run(pictures, "out", model="lenet5_modern")
    before = rows_of(tmp_path / "out")
    run(pictures, "out", model=model, overwrite=True)
    assert rows_of(tmp_path / "out") == before


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.png"))


def test_an_input_that_has_changed_is_refused(tmp_path: Path, pictures: Path, run: Score) -> None:
    source, out = tmp_path / "scans", tmp_path / "out"
    shutil.copytree(pictures, source)
    with pytest.raises(KeyboardInterrupt):
        run(source, out, part_rows=40, progress=stop_after(100))
    bytes_then = size_of(source)
    (source / "new.png").write_bytes(b"x")
    assert refused(run, source, out, part_rows=40) == (
        f"scans has changed since the job in {out} was started: 300 rows in {bytes_then:,} bytes then, 301 in "
        f"{bytes_then + 1:,} bytes now, or newer files; name another folder with --out, or begin anew with --overwrite"
    )
    run(source, out, part_rows=40, overwrite=True)
    assert len(rows_of(out)) == 301


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_are_never_touched(tmp_path: Path, pictures: Path, run: Score, overwrite: bool) -> None:
    out = tmp_path / "out"
    for name in ("manifest.json", "model.onnx", "thesis.tex", "weights.pt"):
        out.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    before = files_of(out)
    assert refused(run, pictures, out, overwrite=overwrite) == (
        f"{out} holds other files (manifest.json, model.onnx, thesis.tex, …): name a new or an empty folder with --out"
    )
    assert {name: data for name, data in files_of(out).items() if name != ".lock"} == before


def test_input_and_output_keep_apart(tmp_path: Path, pictures: Path, run: Score) -> None:
    assert refused(run, pictures, pictures) == f"{pictures} is the input as well: name another folder with --out"
    assert refused(run, pictures, pictures / "out") == (
        f"{pictures}/out lies within the input {pictures}: its files would be read as input"
    )
    assert refused(run, pictures, pictures.parent) == (
        f"the input {pictures} lies within {pictures.parent}: name another folder with --out"
    )
    (tmp_path / "file").touch()
    assert refused(run, pictures, tmp_path / "file") == f"{tmp_path}/file is a file: --out names a folder"
    assert not (pictures / "out").exists()


def test_arguments_out_of_range(tmp_path: Path, pictures: Path, run: Score) -> None:
    out = tmp_path / "out"
    for options, said in (
        (dict(top_k=11), "top_k=11: from 1 to the network's 10 classes"),
        (dict(top_k=-1), "top_k=-1: from 1 to the network's 10 classes"),
        (dict(min_confidence=1.5), "min_confidence=1.5: a probability, from 0 to 1"),
        (dict(workers=0), "workers=0: at least 1"),
        (dict(part_rows=0), "part_rows=0: at least 1"),
        (dict(engine="spark"), "no engine 'spark': one of local, ray"),
        (dict(address="auto"), "address 'auto': only the engine ray has one"),
    ):
        assert refused(run, pictures, out, **options) == said
    assert refused(run, pictures, out, model="missing.onnx", error=ArtifactError) == (
        "cannot read missing.onnx: No such file or directory"
    )
    assert not out.exists()


# ---------------------------------------------------------------------------------------------- memory, no torch

WITHIN = """
import re, sys
from pathlib import Path
from lenet_zoo.scoring import local, score
from lenet_zoo.scoring.scorer import Scorer

def here(root, out, tasks, count, workers):
    scorer = Scorer(root, out)
    return (scorer(*task) for task in tasks)

local.run = here
result = score(sys.argv[1], sys.argv[2], model=sys.argv[3], part_rows=500)
assert "torch" not in sys.modules
print(result["rows"], re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_input_and_torch_is_not_imported(
    tmp_path: Path, network: Path, digits: Digits
) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's own memory is found in Linux's /proc")
    one = tmp_path / "one.png"
    one.write_bytes(png(next(digit for digit in digits if (digit_from_grey(digit) == digit).all())))
    peaks = []
    for count in (1_000, 12_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for i in range(count):
            os.link(one, folder / f"a-picture-with-a-rather-long-name-{i:06d}.png")
        arguments = [sys.executable, "-c", WITHIN, str(folder), str(tmp_path / f"out-{count}"), str(network)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rows, peak = map(int, done.stdout.split())
        assert rows == count
        peaks.append(peak)
    # Kept in memory, the pixels of 11,000 more pictures, or their rows, would be 9 MB and more.
    assert peaks[1] - peaks[0] < 5_000, peaks


@pytest.fixture(autouse=True)
def _no_children_left() -> Iterator[None]:
    yield
    import multiprocessing

    assert not multiprocessing.active_children()
