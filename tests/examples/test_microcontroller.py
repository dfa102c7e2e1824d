"""`examples/microcontroller`: what its Makefile would do. What comes out of it, tests/export/test_c_cores.py runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "microcontroller"


def planned(*words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("make"):
        pytest.skip("there is no make here")
    return subprocess.run(["make", "-n", "run", *words], cwd=EXAMPLE, capture_output=True, text=True, check=False)


def test_networks_precisions_and_options_have_files_of_their_own() -> None:
    for words, file in (
        ((), "digit-lenet5_modern-int8"),
        (("NETWORK=lenet5_classic", "PRECISION=fp32"), "digit-lenet5_classic-fp32"),
        (("NETWORK=local-dir:runs/mine",), "digit-local-dir_runs_mine-int8"),
    ):
        said = planned(*words).stdout
        assert f" -o {file}.c\n" in said
        assert f"-kernel {file}-m4-O2.elf" in said
    assert "-kernel digit-lenet5_modern-int8-m4-Os-flto.elf" in planned("OPTIMIZE=-Os -flto").stdout


def test_an_unknown_core_is_refused_with_the_known_ones() -> None:
    done = planned("CORE=m7")
    assert done.returncode != 0
    assert "CORE=m7 is unknown: one of m0 m3 m4 m33 riscv" in done.stderr


def test_pictures_that_could_not_be_made_leave_no_file(tmp_path: Path) -> None:
    if not shutil.which("make"):
        pytest.skip("there is no make here")
    shutil.copy(EXAMPLE / "Makefile", tmp_path)
    done = subprocess.run(["make", "pictures.h", "PYTHON=false"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
