"""Ray does what the local engine does, to the byte, and loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lenet_zoo.errors import ScoringError
from lenet_zoo.scoring import cluster, job
from lenet_zoo.scoring.folder import tries_folder

from .conftest import Score, files_of, rows_of

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """Ray with two cores, shared by the tests here; jobs find it and leave it open."""
    os.environ.update(cluster.ENVIRONMENT)
    context = ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False, logging_level="ERROR"
    )
    yield context
    ray.shutdown()


@pytest.fixture
def by_ray(network: Path) -> Score:
    return lambda source, out, **options: job.score(source, out, model=str(network), engine="ray", **options)


def test_ray_and_local_give_the_same_bytes(
    tmp_path: Path, session: Any, by_ray: Score, run: Score, pictures: Path
) -> None:
    (pictures / "b" / "broken.png").write_text("hello")
    try:
        result = by_ray(pictures, tmp_path / "ray", part_rows=40, workers=2)
        run(pictures, tmp_path / "local", part_rows=40)
    finally:
        (pictures / "b" / "broken.png").unlink()
    assert (result["rows"], result["run"]["rows"], result["unreadable"]) == (301, 301, 1)
    assert all(seconds > 0 for seconds in result["run"]["stages"].values())
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")
    assert not tries_folder(tmp_path / "ray").exists()


def test_ray_does_what_is_missing_and_no_more(
    tmp_path: Path, session: Any, by_ray: Score, run: Score, pictures: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 160:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, part_rows=40, progress=stop)
    before = {path: path.stat().st_mtime_ns for path in out.glob("parts/*")}
    assert len(before) == 4
    assert by_ray(pictures, out, part_rows=40)["run"]["rows"] == 140
    assert {path: path.stat().st_mtime_ns for path in before} == before
    run(pictures, tmp_path / "whole", part_rows=40)
    assert files_of(out) == files_of(tmp_path / "whole")


def ray_workers() -> list[int]:
    """The processes of Ray's actors on this machine that score for us."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if command.startswith(b"ray::MapWorker") and started_by(os.getpid(), path.parent):
            found.append(int(path.parent.name))
    return found


def started_by(pid: int, process: Path) -> bool:
    """Whether `pid` started that process, or one of its parents."""
    while process.name not in ("0", "1"):
        if int(process.name) == pid:
            return True
        process = process.parent / (process / "stat").read_text().rpartition(")")[2].split()[1]
    return False


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="Ray's processes are found in Linux's /proc")
def test_a_ray_worker_that_is_killed_is_replaced(
    tmp_path: Path, session: Any, by_ray: Score, run: Score, pictures: Path
) -> None:
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done and not killed:
            killed.extend(ray_workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    by_ray(pictures, tmp_path / "out", part_rows=5, workers=2, progress=kill)
    assert len(killed) == 1
    run(pictures, tmp_path / "whole", part_rows=5)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_unit_that_ends_every_worker_ends_the_job(
    tmp_path: Path, session: Any, by_ray: Score, pictures: Path
) -> None:
    out = tmp_path / "out"

    def seem_to_have_died(done: int, total: int) -> None:
        for i in range(5):
            (tries_folder(out) / f"3-{i}").touch()

    with pytest.raises(ScoringError) as caught:
        by_ray(pictures, out, part_rows=40, progress=seem_to_have_died)
    assert str(caught.value).startswith("part 3 was the end of 5 workers: is there memory enough?; ")
    assert by_ray(pictures, out, part_rows=40)["rows"] == 300


def test_a_running_cluster_is_joined_from_another_process(
    tmp_path: Path, session: Any, network: Path, pictures: Path
) -> None:
    address = session.address_info["gcs_address"]
    command = [sys.executable, "-m", "lenet_zoo", "score", str(pictures), "--out", str(tmp_path / "out")]
    command += ["--model", str(network), "--engine", "ray", "--address", address]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rows_of(tmp_path / "out")) == 300


def test_a_cluster_that_asks_for_a_token(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("RAY_AUTH_MODE") != "token":  # set by newer versions of Ray when they start a cluster
        pytest.skip("this Ray asks for no token")
    address = session.address_info["gcs_address"]
    monkeypatch.delenv("RAY_AUTH_MODE")
    with pytest.raises(ScoringError) as caught:
        cluster._check(address)
    assert str(caught.value) == (
        f"the Ray cluster at {address} asks for its token: set RAY_AUTH_MODE=token, with the token of its head in "
        "~/.ray/auth_token or RAY_AUTH_TOKEN"
    )


def test_a_job_that_is_killed_is_done_by_the_same_command(
    tmp_path: Path, session: Any, network: Path, pictures: Path, by_ray: Score, run: Score
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lenet_zoo", "score", str(pictures), "--out", str(out), "--part-rows", "2"]
    command += ["--model", str(network), "--engine", "ray", "--address", session.address_info["gcs_address"]]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("parts/part-*"))) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.kill()
    process.communicate()
    done = len(list(out.glob("parts/part-*")))
    assert not (out / "manifest.json").exists()
    assert done < 150
    by_ray(pictures, out, part_rows=2)
    run(pictures, tmp_path / "whole", part_rows=2)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_what_answers_and_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_JOIN_SECONDS", 2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ScoringError) as caught:
            cluster._check(address)
    assert str(caught.value) == (
        f"no Ray cluster at {address}: no answer of one within 2 s; start one with `ray start --head`, or leave out "
        "--address"
    )


def test_a_head_that_is_gone_is_told(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_LOOK_SECONDS", 0.01)
    over = threading.Event()
    with socket.socket() as nobody:  # a port that nothing listens at
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.warns(
            RuntimeWarning, match=f"^the head of the Ray cluster at {address} does not answer any more: "
        ):
            cluster._watch(address, over)
        nobody.listen()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            threading.Timer(0.2, over.set).start()
            cluster._watch(address, over)
    watched: list[str] = []
    monkeypatch.setattr(cluster, "_watch", lambda address, over: (watched.append(address), over.wait(60)))
    with cluster._watched():
        pass
    assert watched == [session.address_info["gcs_address"]]


def test_the_example_runs(tmp_path: Path, session: Any, network: Path, pictures: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "score_with_ray.py"
    command = [sys.executable, str(example), str(pictures), "--out", str(tmp_path / "out"), "--model", str(network)]
    command += ["--address", session.address_info["gcs_address"], "--min-confidence", "0", "--show", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *_, second, third, last = done.stdout.splitlines()
    assert first.startswith("300 rows, 300 with a label: {'0': ")
    rows = sorted(rows_of(tmp_path / "out"), key=lambda row: row["confidence"])
    assert [line.partition(": ")[0] for line in (second, third, last)] == [row["key"] for row in rows[:3]]
