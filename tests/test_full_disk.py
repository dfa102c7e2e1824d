"""A file that does not fit ends a command with one line, which names the file and says what to do."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from lenet_zoo._files import atomic_path, naming
from lenet_zoo.cli._app import run
from lenet_zoo.errors import ScoringError, TrainingError
from lenet_zoo.scoring import inputs, score
from lenet_zoo.training.checkpoint import RunFolder

resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
TO_MAKE_ROOM = ": make room there, or write to another disk"


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file grow over `size` bytes: what is written then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    image = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(image).line([(30, 10), (30, 50)], fill=0, width=5)
    image.save(tmp_path / "in" / "1.png")
    return tmp_path / "in"


@pytest.mark.parametrize(
    "argv",
    [
        ["plot", "filters", "lenet5_modern", "-o", "f.pdf"],
        ["plot", "filters", "lenet5_modern", "-o", "f.svg"],
        ["plot", "filters", "lenet5_modern", "-o", "f.png"],
        ["export", "lenet5_modern", "-o", "m.onnx"],
        ["export", "lenet5_modern", "--target", "c", "-o", "m.c"],
    ],
    ids=" ".join,
)
def test_a_file_of_a_command(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with files_up_to(2_000):
        assert run(argv) == 1
    cannot = "cannot write " if argv[0] == "export" else ""
    assert capsys.readouterr().err == f"lenet-zoo: {cannot}{argv[-1]}: File too large{TO_MAKE_ROOM}\n"
    assert [*tmp_path.iterdir()] == []


def test_a_job_names_what_it_writes_and_not_the_network_that_it_copies(pictures: Path, tmp_path: Path) -> None:
    import lenet_zoo

    network, out = tmp_path / "m.onnx", tmp_path / "out"
    lenet_zoo.export_onnx(lenet_zoo.create_model("lenet5_modern", pretrained=True), network, input="pixels")
    with files_up_to(2_000), pytest.raises(ScoringError) as caught:
        score(pictures, out, model=str(network))
    assert str(caught.value) == f"{out / 'job' / 'model.onnx'}: file too large{TO_MAKE_ROOM}"
    assert [*tmp_path.glob("out/*")] == []


def test_a_listing_that_does_not_fit(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(root: Path) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(inputs, "_walk", full)
    with pytest.raises(ScoringError) as caught:
        inputs.list_input(pictures, (28, 28))
    assert str(caught.value) == (
        f"the listing of {pictures} cannot be sorted: database or disk is full: make room in the folder of temporary "
        "files, or name another one in SQLITE_TMPDIR"
    )


def test_a_run_that_was_begun_may_end_on_a_disk_that_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**24 - 1))
    with pytest.raises(TrainingError, match=r"15 MB free at .*, and a run needs 16 MB: make"):
        RunFolder(tmp_path)
    (tmp_path / "checkpoint.pt").touch()
    RunFolder(tmp_path)


def test_only_an_error_without_a_file_of_its_own_is_named(tmp_path: Path) -> None:
    for filename, named in ((None, tmp_path), ("other", "other")):
        with pytest.raises(OSError, match="No space") as caught, naming(tmp_path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), filename)
        assert caught.value.filename == str(named)
    with pytest.raises(OSError, match="No space") as caught, atomic_path(tmp_path / "a.txt") as temporary:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
    assert caught.value.filename == str(tmp_path / "a.txt")
