"""Several processes, one job: real ones, started by torchrun, on a small stand-in for MNIST."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lenet_zoo.cli import main
from lenet_zoo.errors import InputError
from lenet_zoo.training.processes import find_ranks

HERE = Path(__file__).parent
TRAIN = ["-m", "lenet_zoo", "train", "lenet5_modern", "--recipe", "baseline", "--device", "cpu"]


def torchrun(processes: int, *argv: str, **more) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *argv]


def run(command: list[str], folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=env, cwd=folder)


def weights_of(folder: Path) -> dict:
    return load_file(folder / "model.safetensors")


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_same(one: Path, other: Path, tolerance: float = 5e-5) -> None:
    """Weights as near as another order of sums leaves them."""
    expected, found = weights_of(one), weights_of(other)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert (value - found[key]).abs().max() < tolerance, f"{other}: {key}"


# ------------------------------------------------------------------------------------------------------ the same result


@pytest.fixture(scope="module")
def alone_and_shared(small_mnist, tmp_path_factory) -> tuple[Path, Path]:
    """Every run of `shared_runs.py`, in one process and in three, among which no batch can be divided evenly."""
    out = tmp_path_factory.mktemp("runs")
    script = [str(HERE / "shared_runs.py"), str(small_mnist)]
    for command in ([sys.executable, *script, str(out / "one")], torchrun(3, *script, str(out / "three"))):
        done = run(command)
        assert done.returncode == 0, done.stderr
    return out / "one", out / "three"


@pytest.mark.parametrize(
    "name", ["plain", "rich", "classic", "pairs", "patience", "teacher", "normalised", "normalised-classic", "pupil"]
)
def test_three_processes_end_where_one_does(alone_and_shared, name):
    one, three = (folder / name for folder in alone_and_shared)
    alone = json.loads((one / "process-0" / "history.json").read_text())
    for process in range(3):
        # Batch normalisation makes rounding larger: 5.7e-5 was seen on a processor with other vectors. Ranks that
        # normalise by their own third of a batch end 5e-2 apart (measured on MNIST).
        normalises = name == "teacher" or name.startswith("normalised")
        assert_same(one / "process-0", three / f"process-{process}", 2e-4 if normalises else 5e-5)
        history = json.loads((three / f"process-{process}" / "history.json").read_text())
        assert len(history) == len(alone)
        for mine, theirs in zip(history, alone, strict=True):
            for key in ("loss", "accuracy", "validation_loss", "validation_accuracy", "lr"):
                assert mine[key] == pytest.approx(theirs[key], rel=2e-5), key
    # One wrote, and what it wrote is whole.
    assert log_of(three) == json.loads((three / "process-0" / "history.json").read_text())


def test_patience_ended_a_run_early(alone_and_shared):
    assert 1 < len(log_of(alone_and_shared[1] / "patience")) < 9


def test_the_teachers_answers_are_the_same(alone_and_shared):
    one, three = (sorted((folder / "pupil" / "answers").rglob("*.safetensors")) for folder in alone_and_shared)
    assert [file.name for file in three] == [file.name for file in one] == ["view-1.safetensors", "view-2.safetensors"]
    for mine, theirs in zip(three, one, strict=True):
        assert (load_file(mine)["logits"] - load_file(theirs)["logits"]).abs().max() < 1e-5


# ------------------------------------------------------------------------------------------------------------- failures


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("lenet-zoo:")]


def test_an_error_of_all_is_said_once_and_before_anything_is_made(small_mnist, tmp_path):
    argv = ["-m", "lenet_zoo", "train", "lenet5_classic", "--recipe", "lecun1998", "--device", "cpu"]
    done = run(torchrun(2, *argv, "--data-root", str(small_mnist), "--out", str(tmp_path / "out")))
    assert done.returncode == 1
    text = "the 1998 method updates after every pattern: start it in one process"
    assert said(done) == [f"lenet-zoo: {text}"]
    # torchrun's summary, the last on the screen, says it as well, with the exit status that the command has alone.
    summary = done.stderr[done.stderr.index("Root Cause") :]
    assert f"traceback : {text}\n" in summary
    assert "exitcode  : 2 " in summary
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_for_the_one_that_writes_ends_all(small_mnist, tmp_path):
    out = tmp_path / "out"
    command = torchrun(2, *TRAIN, "--set", "epochs=2", "--data-root", str(small_mnist), "--out", str(out))
    # A limit on the size of files: the log fits, the checkpoint does not.
    done = run(["bash", "-c", 'ulimit -f 100; exec "$@"', "bash", *command])
    assert done.returncode == 1
    assert said(done) == [
        f"lenet-zoo: cannot write {out}/checkpoint.pt: File too large; what was saved before is whole: make room, "
        "then go on with --resume"
    ]
    assert not out.exists()  # nothing was saved


class Job:
    """A run of many short epochs under torchrun, on its way."""

    def __init__(self, out: Path, root: Path, processes: int, *argv: str, **environment: str) -> None:
        self.out = out
        command = torchrun(processes, *TRAIN, *argv, "--data-root", str(root), "--out", str(out))
        self.messages = out.with_suffix(".txt").open("w+")
        self.process = subprocess.Popen(
            command, stdout=self.messages, stderr=self.messages, env={**os.environ, **environment}
        )

    def wait_for_epoch(self, number: int) -> None:
        for _ in range(1200):
            if f"epoch {number}:" in self.text():
                return
            assert self.process.poll() is None, self.text()
            time.sleep(0.1)
        pytest.fail(f"no epoch {number} in two minutes: {self.text()}")

    def text(self) -> str:
        return Path(self.messages.name).read_text()

    def rank(self, number: int) -> int:
        """The process of this rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(
            int(pid) for pid in children if f"\0RANK={number}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        )

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        self.messages.close()


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")


@needs_proc
def test_a_killed_process_ends_the_job_and_resume_goes_on_in_another_number(small_mnist, tmp_path):
    recipe = [f"--set={field}" for field in ("epochs=30", "batch_size=100", "lr=0.02", "ema=0.9", "rotation=10")]
    with Job(tmp_path / "broken", small_mnist, 2, *recipe) as job:
        job.wait_for_epoch(2)
        os.kill(job.rank(0), signal.SIGKILL)
        assert job.process.wait(timeout=60) == 1
        text = job.text()
    assert re.findall("^lenet-zoo: .*$", text, re.MULTILINE) == [
        "lenet-zoo: another process of this job was lost, or the job was told to stop: what was saved is whole; "
        "go on with --resume, in as many processes as you like"
    ]
    assert "(SIGKILL)" in text
    assert 2 <= len(log_of(tmp_path / "broken")) < 30
    one = ["train", *TRAIN[3:], *recipe, "--data-root", str(small_mnist)]
    for name in ("broken", "whole"):
        with pytest.raises(SystemExit) as end:
            main([*one, "--resume", "--out", str(tmp_path / name)])
        assert not end.value.code
    assert [record["epoch"] for record in log_of(tmp_path / "broken")] == list(range(1, 31))
    assert_same(tmp_path / "whole", tmp_path / "broken")


@needs_proc
def test_one_process_is_killed_and_then_all_and_the_end_is_the_same_to_the_bit(small_mnist, tmp_path):
    recipe = [f"--set={field}" for field in ("epochs=40", "batch_size=100", "rotation=10")]
    with Job(tmp_path / "whole", small_mnist, 2, *recipe) as job:
        assert job.process.wait(timeout=300) == 0, job.text()
    with Job(tmp_path / "broken", small_mnist, 2, *recipe) as job:
        job.wait_for_epoch(2)
        os.kill(job.rank(1), signal.SIGKILL)
        assert job.process.wait(timeout=60) == 1
    with Job(tmp_path / "broken", small_mnist, 2, *recipe, "--resume") as job:
        job.wait_for_epoch(len(log_of(tmp_path / "broken")) + 2)
        for process in (job.process.pid, job.rank(0), job.rank(1)):
            os.kill(process, signal.SIGKILL)
        assert job.process.wait(timeout=60) == -9
    assert 4 <= len(log_of(tmp_path / "broken")) < 40
    with Job(tmp_path / "broken", small_mnist, 2, *recipe, "--resume") as job:
        assert job.process.wait(timeout=300) == 0, job.text()
    whole, broken = (weights_of(tmp_path / name) for name in ("whole", "broken"))
    assert [key for key, value in whole.items() if not torch.equal(value, broken[key])] == []
    assert [record["epoch"] for record in log_of(tmp_path / "broken")] == list(range(1, 41))


@needs_proc
def test_a_process_that_hangs_does_not_keep_the_others(small_mnist, tmp_path):
    with Job(tmp_path / "run", small_mnist, 2, "--set", "epochs=10000", LENET_ZOO_TIMEOUT="4") as job:
        job.wait_for_epoch(1)
        hangs, other = job.rank(1), job.rank(0)
        os.kill(hangs, signal.SIGSTOP)
        for _ in range(600):
            if not Path(f"/proc/{other}").exists():
                break
            time.sleep(0.1)
        os.kill(hangs, signal.SIGKILL)  # as torchrun does, after half a minute
        assert job.process.wait(timeout=60) == 1
        assert (
            "lenet-zoo: another process of this job has not answered for 4 s: what was saved is whole; go on with "
            "--resume, or let them wait longer with LENET_ZOO_TIMEOUT=SECONDS\n"
        ) in job.text()


def test_an_absent_device_is_refused():
    with pytest.raises(InputError, match=r"^no device 'abacus' here: take one of auto, cpu"):
        find_ranks("abacus")


@pytest.mark.parametrize("text", ["soon", "inf", "nan", "1e20"])
def test_the_waiting_time_must_be_a_number_of_seconds(monkeypatch, text):
    monkeypatch.setenv("LENET_ZOO_TIMEOUT", text)
    with pytest.raises(InputError, match=rf"^LENET_ZOO_TIMEOUT={text}: give seconds, such as 600$"):
        find_ranks("cpu")


def test_a_world_that_is_not_there_is_refused(monkeypatch):
    """Each of its processes would train alone, and all would write to one folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"^WORLD_SIZE is set and RANK is not: start the job with torchrun, or unset"):
        find_ranks("cpu")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match=r"^WORLD_SIZE=two: a whole number expected"):
        find_ranks("cpu")


# -------------------------------------------------------------------------------------------------- documented lines

ROOT = HERE.parents[1]
LINES = {
    (page.name, line)
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    for line in re.findall(r"torchrun [^`\n]*-m lenet_zoo [^`\n]*", page.read_text(encoding="utf-8"))
}


def as_documented(command: list[str], folder: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the manual in `folder`, as on a machine without a GPU."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    folder.mkdir(exist_ok=True)
    done = run(command, folder, PATH=path, LENET_ZOO_DATA=str(root), CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    return done


def test_lines_are_documented():
    assert {"README.md", "training.md", "finetune.md"} <= {page for page, _ in LINES}


@pytest.mark.parametrize(("page", "line"), sorted(LINES), ids=lambda text: text.split()[-1])
def test_a_documented_line_spreads_the_run_over_its_processes(page, line, small_mnist, tmp_path):
    if "finetune" in line:
        pytest.importorskip("matplotlib")
    done = as_documented(shlex.split(line.replace("…", "--out run")), tmp_path, small_mnist)
    assert done.stdout.count("accuracy") == 1
    (card,) = tmp_path.rglob("card.json")
    created = json.loads(card.read_text(encoding="utf-8"))["created_with"]
    assert created["machine"].endswith("1 threads in each of 2 processes")


def test_the_example_trains_and_goes_on_by_itself(small_mnist, tmp_path):
    script = ROOT / "examples" / "train_distributed.sh"
    argv = [str(script), "--recipe", "baseline", "--out", "run", "--set", "epochs=2"]
    done = as_documented(argv, tmp_path, small_mnist)
    assert done.stdout.count("accuracy") == 1
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["command"].startswith("torchrun --nproc-per-node 2 -m lenet_zoo train lenet5_modern --resume ")
    assert card["created_with"]["machine"].endswith("1 threads in each of 2 processes")
