"""Real data for the tests, and the same arithmetic in every run."""

from __future__ import annotations

import http.server
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lenet_zoo.datasets.loading import Dataset, data_root, load_dataset
from lenet_zoo.errors import DataError, to_install

HOW_TO = (
    "set LENET_ZOO_DATA to a folder that holds {kind}/raw, or fetch the files into the cache with "
    "`lenet-zoo evaluate lenet5_modern.mnist --dataset {name} --download`"
)


def _missing(name: str, kind: str) -> str | None:
    """Why the data set cannot be used, or None."""
    needed = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    absent = [file for file in needed if not (data_root() / kind / "raw" / file).is_file()]
    if not absent:
        return None
    return f"no {kind} in {data_root()} ({absent[0]} is missing): " + HOW_TO.format(kind=kind, name=name)


def pytest_report_header() -> list[str]:
    lines = []
    for name, kind in (("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")):
        why = _missing(name, kind)
        lines.append(f"{name}: {data_root() / kind}" if why is None else f"SKIPPING THE TESTS ON {name}: {why}")
    return lines


def _root(name: str, kind: str) -> Path:
    why = _missing(name, kind)
    if why is not None:
        pytest.skip(why)
    return data_root()


def _load(name: str, kind: str, train: bool) -> Dataset:
    root = _root(name, kind)
    try:
        return load_dataset(name, train=train, root=root)
    except DataError as error:  # there, but damaged: that is worth a failure
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder that holds MNIST/raw."""
    return _root("mnist", "MNIST")


@pytest.fixture(scope="session")
def mnist_train() -> Dataset:
    """MNIST's 60,000 training digits."""
    return _load("mnist", "MNIST", True)


@pytest.fixture(scope="session")
def mnist_test() -> Dataset:
    """MNIST's 10,000 test digits."""
    return _load("mnist", "MNIST", False)


@pytest.fixture(scope="session")
def fashion_root() -> Path:
    """The folder that holds FashionMNIST/raw."""
    return _root("fashion_mnist", "FashionMNIST")


@pytest.fixture(scope="session")
def fashion_train() -> Dataset:
    """Fashion-MNIST's 60,000 training pictures."""
    return _load("fashion_mnist", "FashionMNIST", True)


@pytest.fixture(scope="session")
def fashion_test() -> Dataset:
    """Fashion-MNIST's 10,000 test pictures."""
    return _load("fashion_mnist", "FashionMNIST", False)


@pytest.fixture(scope="session")
def scripts_root() -> Path:
    """The folder that holds cmaterdb: digits of Bangla, Devanagari and Telugu."""
    if not (data_root() / "cmaterdb").is_dir():
        pytest.skip(
            f"no cmaterdb in {data_root()}: set LENET_ZOO_DATA to a folder that holds it, or fetch its files into the "
            "cache with `lenet-zoo evaluate lenet5_modern.bangla --dataset bangla --download`, and so for the others"
        )
    return data_root()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """1,797 handwritten digits, uint8 28×28, in scikit-learn's order."""
    sklearn = pytest.importorskip("sklearn.datasets", reason=f"needs scikit-learn: {to_install('test')}")
    bunch = sklearn.load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    large = F.pad(F.interpolate(small, (20, 20), mode="bilinear"), (4, 4, 4, 4)).squeeze(1)
    return Dataset("digits", (large * 255).round().byte(), torch.from_numpy(bunch.target).long(), tuple("0123456789"))


@pytest.fixture(scope="session")
def few(digits) -> Dataset:
    """The first 300 of them."""
    return Dataset("digits", digits.images[:300], digits.labels[:300], digits.classes)


@pytest.fixture(scope="session")
def small_mnist(digits, tmp_path_factory) -> Path:
    """A data root whose MNIST/raw holds 600 of the digits for training and 200 for testing, in MNIST's own format."""
    root = tmp_path_factory.mktemp("data")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, part in (("train", slice(0, 600)), ("t10k", slice(600, 800))):
        images, labels = digits.images[part].numpy(), digits.labels[part].byte().numpy()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, len(images), 28, 28) + images.tobytes()
        )
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())
    return root


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server on this machine, and the folder whose files it gives."""
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


# A monitor for programs that a test kills: a line at each report of a step and at the end of each epoch.
_TELL = """
from lenet_zoo.training.monitor import Monitor

class Tell(Monitor):
    def step(self, epoch, *rest):
        print("step", epoch, flush=True)
    def epoch(self, record):
        print("epoch", record["epoch"], flush=True)
"""


@pytest.fixture(scope="session")
def run_child() -> Callable[..., str]:
    """Run a program whose training tells the monitor `Tell()`, to its end or until kill -9.

    Takes the program, its arguments, `kill_at`, a line of `Tell`'s ('step 2', 'epoch 2') or None, and variables to add
    to the environment; gives what the program said on stderr.
    """

    def run(program: str, *arguments: object, kill_at: str | None = None, **variables: str) -> str:
        command = [sys.executable, "-c", _TELL + program, *map(str, arguments)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}
        ) as process:
            for line in process.stdout:  # type: ignore[union-attr]
                if line.strip() == kill_at:
                    process.kill()  # SIGKILL
                    break
            _, said = process.communicate()
        assert process.returncode == (0 if kill_at is None else -9), said
        return said

    return run


@pytest.fixture
def broken_compiler(tmp_path) -> str:
    """A C++ compiler that fails."""
    script = tmp_path / "cxx"
    script.write_text("#!/bin/sh\necho 'cxx: out of order' >&2\nexit 1\n")
    script.chmod(0o755)
    return str(script)


@pytest.fixture(scope="session", autouse=True)
def network_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `predict NAME` keeps its ONNX files: nothing is read from the user's cache, or written to it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lenet_zoo.classify.cached.user_cache", lambda: folder)
        yield folder


@pytest.fixture(autouse=True)
def _same_arithmetic_in_every_run() -> Iterator[None]:
    """Seeded, and on one thread: several would sum in another order, and wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# A child process of a test computes as the test does.
os.environ.setdefault("OMP_NUM_THREADS", "1")
