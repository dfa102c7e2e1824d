"""Data sets: read from torchvision's layout, refused when damaged, and fetched so that nobody sees half of one."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from lenet_zoo.datasets import fetching
from lenet_zoo.datasets.loading import DATASETS, Dataset, data_root, load_dataset, validation_split
from lenet_zoo.errors import DataError, InputError

FILES = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
COUNTS = {"train": 50, "t10k": 20}


def idx(file: str) -> bytes:
    """A small file of the MNIST format, every pixel and label of which is known."""
    n = COUNTS[file.split("-")[0]]
    if "labels" in file:
        return bytes([0, 0, 8, 1]) + n.to_bytes(4, "big") + bytes(i % 10 for i in range(n))
    pixels = (np.arange(n * 784) % 251).astype(np.uint8).tobytes()
    return bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (n, 28, 28)) + pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a small synthetic MNIST."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in FILES:
        (raw / file).write_bytes(idx(file))
    return tmp_path / "data"


def check(data: Dataset, n: int) -> None:
    assert (data.images.dtype, tuple(data.images.shape)) == (torch.uint8, (n, 28, 28))
    assert (data.labels.dtype, tuple(data.labels.shape)) == (torch.int64, (n,))
    assert data.images.flatten().tolist() == [i % 251 for i in range(n * 784)]
    assert data.labels.tolist() == [i % 10 for i in range(n)]
    assert len(data) == n


# ----------------------------------------------------------------------------------------------------------- reading


def test_load_dataset_from_a_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(load_dataset("mnist", train=True, root=root), 50)
    check(load_dataset("mnist", train=False, root=root), 20)
    monkeypatch.setenv("LENET_ZOO_DATA", str(root))
    assert load_dataset("mnist", train=False).classes == tuple("0123456789")


def test_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LENET_ZOO_DATA", str(tmp_path / "variable"))
    assert data_root(tmp_path / "given") == tmp_path / "given"
    assert data_root() == tmp_path / "variable"
    monkeypatch.setenv("LENET_ZOO_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache" / "lenet-zoo" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root() == tmp_path / ".cache" / "lenet-zoo" / "data"


def test_a_user_without_a_home_is_told_to_name_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LENET_ZOO_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DataError, match=r"^this user has no home folder, .* with --data-root or LENET_ZOO_DATA$"):
        data_root()


def test_mnist(mnist_train: Dataset, mnist_test: Dataset) -> None:
    assert (len(mnist_train), len(mnist_test)) == (60_000, 10_000)
    assert mnist_train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist_test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist_train.images.float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_fashion_mnist(fashion_train: Dataset, fashion_test: Dataset) -> None:
    assert (len(fashion_train), len(fashion_test)) == (60_000, 10_000)
    assert fashion_test.classes[9] == "Ankle boot"
    assert fashion_train.labels.bincount().tolist() == [6_000] * 10


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "emnist-letters"])
def test_missing_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(name, train=True, root=tmp_path)
    kind = DATASETS[name].kind
    assert str(error.value) == (
        f"no {kind} in {tmp_path}: add --download (download=True) to fetch it, or name the folder that holds "
        f"{kind}/raw with --data-root or LENET_ZOO_DATA"
    )
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(
        InputError, match=r"^no data set called 'fashionmnist'\. Did you mean 'fashion_mnist'\? Known: "
    ):
        load_dataset("fashionmnist", train=True)


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "header only", "text", "zeros"])
def test_a_damaged_file(root: Path, file: str, damage: str) -> None:
    path = root / "MNIST" / "raw" / file
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[:-7],
            "empty": b"",
            "header only": content[:8],
            "text": b"<html>404 not found</html>",
            "zeros": bytes(len(content)),
        }[damage]
    )
    with pytest.raises(DataError) as error:
        load_dataset("mnist", train=True, root=root)
    assert str(error.value) == f"MNIST in {root} is damaged: fetch it again with --download (download=True)"
    check(load_dataset("mnist", train=False, root=root), 20)


def test_labels_that_do_not_match_the_pictures(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    shutil.copy(raw / "t10k-labels-idx1-ubyte", raw / "train-labels-idx1-ubyte")
    with pytest.raises(DataError, match=r"is damaged \(20 labels for pictures \(50, 28, 28\)\): fetch it again"):
        load_dataset("mnist", train=True, root=root)
    raw.joinpath("train-labels-idx1-ubyte").write_bytes(idx("train-labels-idx1-ubyte")[:-1] + b"\x0a")
    with pytest.raises(DataError, match="is damaged"):
        load_dataset("mnist", train=True, root=root)


def test_emnists_letters_count_from_0_and_stand_upright(root: Path) -> None:
    """In its files they count from 1: a label 0 would be −1 here."""
    raw = root / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in FILES[:2]:
        content = idx(file) if "images" in file else idx(file)[:8] + bytes(1 + i % 26 for i in range(50))
        (raw / f"emnist-letters-{file}").write_bytes(content)
    data = load_dataset("emnist-letters", train=True, root=root)
    assert data.labels.max() == 25
    assert data.classes[0] == "a"
    # EMNIST's pictures are stored on their side.
    assert data.images.transpose(1, 2).flatten().tolist() == [i % 251 for i in range(50 * 784)]
    (raw / f"emnist-letters-{FILES[1]}").write_bytes(content[:-1] + b"\x00")
    with pytest.raises(DataError, match=r"^EMNIST in \S+ is damaged \(50 labels for pictures \(50, 28, 28\)\)"):
        load_dataset("emnist-letters", train=True, root=root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(root: Path) -> None:
    (root / "MNIST" / "raw" / "train-images-idx3-ubyte").chmod(0)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied$"):
        load_dataset("mnist", train=True, root=root)


def test_validation_split_takes_the_tail(root: Path) -> None:
    data = load_dataset("mnist", train=True, root=root)
    train, validation = validation_split(data, 10)
    assert (len(train), len(validation)) == (40, 10)
    assert torch.equal(torch.cat([train.images, validation.images]), data.images)
    assert torch.equal(validation.labels, data.labels[40:])
    assert train.classes == validation.classes == data.classes
    for size in (0, -1, 50, 51):
        with pytest.raises(InputError, match=rf"^a validation split of {size} from 50 pictures: "):
            validation_split(data, size)


# ---------------------------------------------------------------------------------------------------------- fetching


class _Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path.endswith(".gz"):
            self.server.gate.wait(20)  # type: ignore[attr-defined]
        super().do_GET()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """A mirror on this machine; it holds every download back while its `gate` is cleared."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for file in FILES:
        (folder / f"{file}.gz").write_bytes(gzip.compress(idx(file), mtime=0))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=str(folder))) as server:
        server.asked = []  # type: ignore[attr-defined]
        server.gate = threading.Event()  # type: ignore[attr-defined]
        server.gate.set()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.gate.set()  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture
def near(mirror: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> http.server.ThreadingHTTPServer:
    """The mirror, in place of the real ones."""
    sums = [(f"{file}.gz", hashlib.md5(gzip.compress(idx(file), mtime=0)).hexdigest()) for file in FILES]
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{mirror.server_port}/"])
    monkeypatch.setattr(MNIST, "resources", sums)
    return mirror


FETCH = """
import json, sys
from torchvision.datasets import MNIST
MNIST.mirrors, MNIST.resources = json.loads(sys.argv[1])
from lenet_zoo.datasets.loading import load_dataset
print("ready", flush=True)
sys.exit(len(load_dataset("mnist", train=True, root=sys.argv[2], download=True)) != 50)
"""


def started(root: Path) -> subprocess.Popen[bytes]:
    """Another process that downloads into `root` from the mirror, and exits with 0 when it read the pictures."""
    command = [sys.executable, "-c", FETCH, json.dumps([MNIST.mirrors, MNIST.resources]), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def visible(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != ".MNIST.lock")


def test_download(near: Any, tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    check(load_dataset("mnist", train=True, root=root, download=True), 50)
    check(load_dataset("mnist", train=False, root=root), 20)
    asked = len(near.asked)
    check(load_dataset("mnist", train=False, root=root, download=True), 20)
    assert len(near.asked) == asked
    assert not [name for name in os.listdir(root) if name.startswith(".MNIST-")]


def test_download_mends_what_is_damaged_and_leaves_the_rest_alone(near: Any, root: Path) -> None:
    raw = root / "MNIST" / "raw"
    (raw / "train-images-idx3-ubyte").write_bytes(b"half")
    (raw / "notes.txt").write_text("mine")
    check(load_dataset("mnist", train=True, root=root, download=True), 50)
    assert (raw / "notes.txt").read_text() == "mine"


def test_a_download_that_fails_leaves_nothing(near: Any, tmp_path: Path) -> None:
    (tmp_path / "mirror" / f"{FILES[3]}.gz").write_bytes(b"damaged on the way")
    with pytest.raises(DataError) as error:
        load_dataset("mnist", train=True, root=tmp_path / "root", download=True)
    assert str(error.value).startswith(f"MNIST could not be fetched into {tmp_path / 'root'}: ")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "root").iterdir()) == []  # and no lock


def test_a_download_that_stalls_ends(near: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_SILENCE", 0.2)
    near.gate.clear()
    with pytest.raises(DataError) as error:
        load_dataset("mnist", train=True, root=tmp_path / "root", download=True)
    assert str(error.value) == (
        f"MNIST could not be fetched into {tmp_path / 'root'}: the server sent nothing for 0.2 seconds"
    )
    assert list((tmp_path / "root").iterdir()) == []
    assert socket.getdefaulttimeout() is None


def test_a_root_that_cannot_be_made(near: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="MNIST could not be fetched into "):
        load_dataset("mnist", train=True, root=tmp_path / "file" / "root", download=True)


def test_processes_that_download_at_once_fetch_once_and_all_read(near: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    near.gate.clear()  # until all of them want the files
    processes = [started(root) for _ in range(4)]
    assert [process.stdout.readline() for process in processes if process.stdout] == [b"ready\n"] * 4
    wait_until_asked(near)
    near.gate.set()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    check(load_dataset("mnist", train=True, root=root), 50)
    assert len(near.asked) <= 2 * len(FILES)  # torchvision asks twice for a file, first for redirections
    assert set(FILES) <= {Path(name).name for name in visible(root)}


def test_a_killed_download_leaves_nothing_half_and_the_next_one_works(near: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    near.gate.clear()
    process = started(root)
    wait_until_asked(near)
    process.kill()
    process.communicate(timeout=60)
    near.gate.set()
    with pytest.raises(DataError, match=r"^no MNIST in "):
        load_dataset("mnist", train=True, root=root)
    assert not (root / "MNIST").exists()
    check(load_dataset("mnist", train=True, root=root, download=True), 50)
    assert not [name for name in os.listdir(root) if name.startswith(".MNIST-")]


def wait_until_asked(server: Any) -> None:
    deadline = time.monotonic() + 60
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.asked
