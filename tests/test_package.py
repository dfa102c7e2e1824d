"""What is built: the wheel and the sdist hold the weights, and the wheel works from any directory."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lenet_zoo
from lenet_zoo import cards

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    for module in ("build", "hatchling"):
        pytest.importorskip(module, reason=f"needs {module}: pip install --group dev (pip 25.1 or later)")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def test_weights_cards_tables_and_recipes_are_in_wheel_and_sdist(built: tuple[Path, Path]) -> None:
    wheel, sdist = built
    wanted = {f"lenet_zoo/weights/{name}{suffix}" for name in cards.names() for suffix in (".safetensors", ".json")}
    wanted |= {"lenet_zoo/models/tables/rbf_ascii96.txt", "lenet_zoo/models/tables/c3_connections.txt"}
    wanted |= {"lenet_zoo/py.typed", "lenet_zoo/squash.h", "lenet_zoo/paper1998/lecun1998.cpp"}
    compiled = ("convolution.h", "normalisation.h", "distort.cpp", "lower.cpp", "stage.cpp", "stage_classic.cpp")
    wanted |= {f"lenet_zoo/training/{name}" for name in compiled}
    wanted |= {f"lenet_zoo/training/recipes/{name}.toml" for name in ("baseline", "best", "fast", "lecun1998")}
    assert len(wanted) >= 9
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert wanted | {"LICENSE", "README.md", "CITATION.cff", "hubconf.py", "tests/test_package.py"} <= inside


def test_the_wheel_works_from_any_directory(built: tuple[Path, Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(built[0]) as archive:
        archive.extractall(site)
    code = (
        "import lenet_zoo, pathlib;"
        f"assert pathlib.Path(lenet_zoo.__file__).is_relative_to({str(site)!r}), lenet_zoo.__file__;"
        "m = lenet_zoo.create_model('lenet5_classic', pretrained=True);"
        "print(sum(p.numel() for p in m.parameters()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(site)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["60000"]


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {lenet_zoo.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
