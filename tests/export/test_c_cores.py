"""The C files on microcontrollers: compiled as in `examples/microcontroller` and run in QEMU.

These tests need the tools that the example's Makefile names, and say so where they are missing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lenet_zoo
from lenet_zoo.export.calibration import bundled

from .conftest import NAMES, Build, normalized, reference
from .test_c_int8 import integers

EXAMPLE = Path(__file__).parents[2] / "examples" / "microcontroller"
TOOLS = dict.fromkeys(("m0", "m3", "m4", "m33"), ("make", "arm-none-eabi-gcc", "qemu-system-arm"))
TOOLS["riscv"] = ("make", "riscv64-unknown-elf-gcc", "qemu-system-riscv32")


def made(folder: Path, core: str) -> subprocess.CompletedProcess[str]:
    """What `make run` says of the `digit.c` in `folder`."""
    if missing := [tool for tool in TOOLS[core] if not shutil.which(tool)]:
        pytest.skip(f"no {', '.join(missing)}: see {EXAMPLE.name}/Makefile for what to install")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    options = ["DIGIT=digit.c", f"CORE={core}", f"PYTHON={sys.executable}"]
    return subprocess.run(["make", "-s", "run", *options], cwd=folder, capture_output=True, text=True, check=False)


def run(folder: Path, core: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Classes, logits and mean instructions of the first 20 calibration pictures, by the `digit.c` in `folder`."""
    done = made(folder, core)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr  # QEMU prints what the program says to one of them, by its version
    rows = np.array([line.split() for line in said.splitlines() if line[:2] in {f" {i}" for i in range(10)}], np.int32)
    assert len(rows) == 20
    (count,) = (int(line.split()[1]) for line in said.splitlines() if line.startswith("instructions"))
    return rows[:, 0], rows[:, 1:], count


@pytest.mark.parametrize("core", TOOLS)
@pytest.mark.parametrize("name", NAMES)
def test_int8_gives_the_same_bits_on_every_core(name: str, core: str, tmp_path: Path) -> None:
    model = lenet_zoo.create_model(name, pretrained=True)
    lenet_zoo.export(model, tmp_path / "digit.c", target="c", precision="int8")
    classes, logits, count = run(tmp_path, core)
    wanted = integers(model).steps(bundled()[:20, None])
    np.testing.assert_array_equal(logits, wanted)
    assert classes.tolist() == wanted.argmax(1).tolist()
    if (name, core) == ("lenet5_modern", "m4"):
        assert count <= 1_500_000


@pytest.mark.parametrize(("name", "options"), [("lenet5_modern", dict(in_chans=3)), ("lenet5_classic", dict(pad=0))])
def test_a_network_of_other_pictures_reads_nothing_beyond_those_of_the_example(
    network: Build, name: str, options: dict[str, int], tmp_path: Path
) -> None:
    lenet_zoo.export(network(name, **options), tmp_path / "digit.c", target="c")
    done = made(tmp_path, "m4")
    assert done.returncode != 0
    assert "pictures_are_what_the_network_takes" in done.stderr


def test_float32_on_a_core_with_a_floating_point_unit(tmp_path: Path) -> None:
    for name in NAMES:
        folder = tmp_path / name
        folder.mkdir()
        model = lenet_zoo.create_model(name, pretrained=True)
        lenet_zoo.export(model, folder / "digit.c", target="c")
        bits = run(folder, "m4")[1]
        wanted = reference(model, normalized(model, bundled()[:20, None]))
        np.testing.assert_allclose(
            np.ascontiguousarray(bits).view(np.float32), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max()
        )
