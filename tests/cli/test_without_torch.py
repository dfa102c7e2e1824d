"""The command line in a deployment that has only the packages docs/deploy.md installs: no torch, timm or onnx."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

import lenet_zoo
from lenet_zoo.cli import _DEPENDENCIES
from lenet_zoo.cli._app import run
from lenet_zoo.errors import to_install

ROOT = Path(__file__).parents[2]


def installed() -> set[str]:
    """The packages that the install command of docs/deploy.md names."""
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (packages,) = re.findall(r"^\$ pip install --no-deps \. && pip install (.+)$", page, re.M)
    return set(packages.split())


def lenet_zoo_without(modules: set[str], *argv: str, cache: str = "/nowhere") -> subprocess.CompletedProcess[str]:
    """Run a command where these modules cannot be imported."""
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {sorted(modules)}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from lenet_zoo.cli import main\n"
        f"main({list(argv)})"
    )
    env = {**os.environ, "XDG_CACHE_HOME": cache}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env)


def in_the_deployment(*argv: str, cache: str = "/nowhere") -> subprocess.CompletedProcess[str]:
    modules = {"PIL" if package == "pillow" else package for package in installed()}
    assert modules <= set(_DEPENDENCIES)
    # `score` needs two more packages, which the page names.
    score = {"filelock", "pyarrow"} if argv[0] == "score" else set()
    return lenet_zoo_without({*_DEPENDENCIES, "matplotlib", "pyarrow", "sklearn"} - modules - score, *argv, cache=cache)


@pytest.fixture(scope="module")
def zero(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real handwritten 0."""
    path = tmp_path_factory.mktemp("pictures") / "zero.png"
    Image.fromarray((255 - load_digits().images[0] * 15.9).astype("uint8")).resize((200, 200)).save(path)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    return Path(lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("network") / "digits.onnx", input="pixels"))


def test_an_onnx_file_answers(network: Path, zero: Path) -> None:
    done = in_the_deployment("predict", str(network), str(zero), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["label"] == "0"


def test_a_tag_answers_from_the_cache(network_cache: Path, zero: Path, tmp_path: Path) -> None:
    assert run(["predict", "lenet5_modern", str(zero)]) == 0  # writes it
    shutil.copytree(network_cache, tmp_path / "lenet-zoo")
    done = in_the_deployment("predict", "lenet5_modern", str(zero), "--json", cache=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["label"] == "0"


def test_an_onnx_file_labels_a_collection(network: Path, zero: Path, tmp_path: Path) -> None:
    done = in_the_deployment(
        "score", str(zero.parent), "--model", str(network), "--out", str(tmp_path / "out"), "--json", "--workers", "1"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"]["0"] == 1


def test_help_list_and_what_a_file_says(network: Path) -> None:
    for argv in (["--help"], ["train", "--help"], ["list"], ["info", "lenet5_modern"], ["info", str(network)]):
        done = in_the_deployment(*argv)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip()


@pytest.mark.parametrize(
    "argv",
    [
        "predict lenet5_modern {zero}",
        "predict lenet5_modern.mnist {zero}",
        "evaluate lenet5_modern --dataset digits",
        "info local-dir:tests",
        "quickstart",
        "export lenet5_modern -o {out}",
        "train lenet5_modern --recipe baseline --out {out}",
        "finetune --out {out}",
        "score {zero} --model lenet5_classic --out {out}",
        "bench inference",
    ],
)
def test_what_needs_torch_says_what_to_install(argv: str, zero: Path, tmp_path: Path) -> None:
    done = in_the_deployment(*argv.format(zero=zero, out=tmp_path / "out").split())
    assert re.fullmatch(
        r"lenet-zoo: this command needs (torch|timm), which is not installed: "
        r"run pip install \. in a clone of lenet_zoo\n",
        done.stderr,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "out").exists()


def test_a_figure_says_what_to_install() -> None:
    """matplotlib is missing first, and belongs to an extra, which brings torch as well."""
    done = in_the_deployment("plot", "filters", "lenet5_modern", "-o", "never.svg")
    assert done.stderr == f"lenet-zoo: pictures are drawn by matplotlib: {to_install('plots')}\n"
    assert (done.returncode, done.stdout) == (2, "")


def test_the_command_line_itself_may_be_missing() -> None:
    done = lenet_zoo_without({"typer"}, "list")
    assert done.stderr == f"lenet-zoo: this command needs typer, which is not installed: {to_install()}\n"
    assert done.returncode == 2


def test_every_dependency_is_known() -> None:
    """So that none ends in a traceback where it is missing."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.M | re.S)
    packages = set(re.findall(r'^    "([\w-]+)', listed, re.M))
    assert {"PIL" if package == "pillow" else package for package in packages} <= _DEPENDENCIES


def test_debug_shows_where() -> None:
    assert "Traceback" in in_the_deployment("evaluate", "lenet5_modern", "--debug").stderr


def test_a_module_that_no_package_of_ours_brings_is_a_fault() -> None:
    done = lenet_zoo_without({"lenet_zoo.cards"}, "list")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
