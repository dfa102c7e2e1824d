"""A job ends with every input exactly once, whatever happened to it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from lenet_zoo.errors import ScoringError
from lenet_zoo.scoring import local, score, scorer

from .conftest import Digits, Score, files_of, png, refused, rows_of, stop_after


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
    for name in ("units.jsonl", "tries/3-1"):  # of a process that was killed after its last part
        (out / "job" / name).parent.mkdir(exist_ok=True)
        (out / "job" / name).touch()
    run(pictures, out, part_rows=40)
    assert files_of(out) == files_of(finished)
    part = out / "parts" / "part-00003.parquet"
    for damage in (lambda: part.write_bytes(part.read_bytes()[:-1]), part.unlink):
        damage()
        assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
            f"{part} is missing or was altered since the job was complete: use --overwrite"
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_a_job_that_is_terminated_leaves_no_more_than_its_parts(
    tmp_path: Path, large: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    process = start(large, tmp_path / "out", network)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (143, "lenet-zoo: interrupted\n")
    assert not list((tmp_path / "tmp").iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["job", "parts"]


@pytest.mark.parametrize("what", ["__init__", "submit"])
def test_workers_that_cannot_be_started_are_not_the_folders_fault(
    tmp_path: Path, pictures: Path, network: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(*_: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(local.ProcessPoolExecutor, what, fail)
    with pytest.raises(ScoringError) as caught:
        score(pictures, tmp_path / "out", model=str(network), workers=2)
    assert str(caught.value) == "worker processes cannot be started: Resource temporarily unavailable"


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


def test_workers_that_die_again_and_again_end_the_job(tmp_path: Path, pictures: Path, network: Path) -> None:
    # Each worker imports the script, which has no guard, and so calls score itself.
    script = f"from lenet_zoo.scoring import score; score({str(pictures)!r}, 'out', model={str(network)!r}, workers=1)"
    (tmp_path / "careless.py").write_text(script)
    done = subprocess.run([sys.executable, "careless.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "5 worker processes died one after the other, at one of the parts 0: is there memory enough? Fewer --workers "
        'take less; and a script that calls score does so under `if __name__ == "__main__":`, as each worker imports it'
    )


def test_why_a_worker_cannot_start_is_told(tmp_path: Path, pictures: Path, run: Score) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, part_rows=40, progress=stop_after(0))
    (out / "job" / "model.onnx").write_bytes(b"")
    (result,) = the_pool(str(pictures), str(out), iter([(0, 0)]), 1, 1)
    assert result["error"].startswith(f"a worker could not start: {out / 'job' / 'model.onnx'} ")


the_pool = local.run  # before a fixture puts another in its place


def test_two_at_once(tmp_path: Path, pictures: Path, run: Score) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        assert refused(run, pictures, tmp_path / "out", error=ScoringError) == (
            f"{tmp_path}/out: another process is at work there: wait until it is done, or name another folder"
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

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    message = refused(run, pictures, out, error=ScoringError)
    assert message.endswith("model.onnx: no space left on device: make room there, or write to another disk")
    assert not out.exists()


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
