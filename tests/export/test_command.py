"""`lenet-zoo export`, and the measurements that `export` returns."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from lenet_zoo.classify import read_metadata
from lenet_zoo.export import export

from .conftest import Build, normalized, pictures, reference, run


def lenet_zoo_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lenet_zoo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_exports_weights_of_ones_own_with_their_card(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_classic", num_classes=3)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    sha256 = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "card.json").write_text(json.dumps(dict(labels=["x", "y", "z"], sha256=sha256, dataset="mine")))
    target = tmp_path / "m.onnx"
    arguments = [
        "export",
        "lenet5_classic",
        "--weights",
        tmp_path / "model.safetensors",
        "-o",
        target,
        "--input",
        "pixels",
    ]
    done = lenet_zoo_command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["path"] == str(target)
    assert report["bytes"] == target.stat().st_size
    assert report["largest_difference"] <= 1e-5 * max(10, report["largest_logit"])
    assert read_metadata(target)["labels"] == ["x", "y", "z"]
    pixels = pictures(4, 1, 28, 28)
    wanted = reference(model, normalized(model, pixels))
    np.testing.assert_allclose(run(target, pixels)[0], wanted, atol=1e-5 * np.abs(wanted).max())

    (tmp_path / "card.json").write_text(json.dumps(dict(labels=["x", "y", "z"], sha256="0")))
    refused = lenet_zoo_command(*arguments)
    assert refused.returncode == 1
    assert "belongs to other weights" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_command_reports_size_and_parity(tmp_path: Path) -> None:
    done = lenet_zoo_command("export", "lenet5_modern", "-o", tmp_path / "m.onnx")
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "m.onnx").stat().st_size
    first, second = done.stdout.splitlines()
    assert first == f"{tmp_path / 'm.onnx'}: {size:,} bytes"
    assert second.startswith("against lenet5_modern on 223 pictures: logits differ by at most ")


def test_export_returns_its_measurements(network: Build, tmp_path: Path) -> None:
    done = export(network("lenet5_modern"), tmp_path / "m.onnx")
    assert done.size == done.path.stat().st_size
    assert 0 <= done.parity.largest_difference < 1e-4
    assert done.parity.agreement == 1.0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_an_export_that_is_killed_leaves_the_old_file_and_the_next_is_whole(tmp_path: Path) -> None:
    """Killed at the last moment, when everything is written but for the name."""
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    code = (
        "import os, signal, sys\nfrom lenet_zoo.cli._app import run\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nrun(sys.argv[1:])"
    )
    argv = ["export", "lenet5_modern", "-o", str(target)]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert (done.returncode, done.stderr, target.read_bytes()) == (-signal.SIGKILL, "", b"old")
    assert lenet_zoo_command(*argv).returncode == 0
    assert read_metadata(target)["model"] == "lenet5_modern"
