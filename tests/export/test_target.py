"""The target: complete or untouched, whatever interrupts the export."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lenet_zoo.errors import ArtifactError
from lenet_zoo.export import export_onnx

from .conftest import Build


def test_interrupted_export_leaves_the_old_file(
    network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.onnx"
    old = export_onnx(network("lenet5_modern"), target).read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(network("lenet5_classic"), target)
    assert target.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_killed_export_leaves_the_old_file(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, lenet_zoo\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "lenet_zoo.export_onnx(lenet_zoo.create_model('lenet5_modern'), sys.argv[1])\n"
    )
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


def test_full_target(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys, lenet_zoo\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "model = lenet_zoo.create_model('lenet5_modern')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    lenet_zoo.export_onnx(model, sys.argv[1])\n"
        "except lenet_zoo.errors.ArtifactError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "m.onnx"
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    advice = "make room there, or write to another disk"
    assert done.stdout == f"cannot write {target}: File too large: {advice}\n"
    assert not list(tmp_path.iterdir())


def test_targets_that_cannot_be_written(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.onnx").mkdir()
    for target, text in [
        (tmp_path / "none" / "m.onnx", f"there is no folder {tmp_path / 'none'}"),
        (tmp_path / "file" / "m.onnx", "Not a directory"),
        (tmp_path / "folder.onnx", "it is a folder"),
        (Path("/dev/null"), "it is not a regular file"),
    ]:
        with pytest.raises(ArtifactError) as caught:
            export_onnx(model, target)
        assert str(caught.value) == f"cannot write {target}: {text}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.onnx"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(network: Build, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArtifactError, match="cannot be written to"):
        export_onnx(network("lenet5_modern"), tmp_path / "m.onnx")
