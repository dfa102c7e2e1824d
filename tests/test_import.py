"""Importing the package: cheap, without torch, and in either order with timm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lenet_zoo

ROOT = Path(__file__).parents[1]


def python(code: str, *options: str, cwd: Path = ROOT) -> str:
    """The output of a fresh interpreter; its errors are the test's."""
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_costs_no_torch() -> None:
    heavy = "{'torch', 'timm', 'torchvision', 'numpy', 'PIL', 'onnx', 'onnxruntime', 'safetensors', 'typer', 'rich'}"
    ours = "lenet_zoo, lenet_zoo.errors, lenet_zoo.cards, lenet_zoo._files, lenet_zoo.registry"
    assert python(f"import sys, {ours}; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_cards_are_read_without_torch() -> None:
    code = (
        "import sys, lenet_zoo; card = lenet_zoo.model_card('lenet5_modern.mnist');"
        "print(card['architecture'], card['tag'], 'torch' in sys.modules)"
    )
    assert python(code) == "lenet5_modern mnist False"


@pytest.mark.parametrize(
    "imports",
    [
        "import lenet_zoo, timm",
        "import timm, lenet_zoo",
        "import lenet_zoo; from timm.models import create_model; import timm",
        "from lenet_zoo.models import LeNet5Modern; import timm",
        "import lenet_zoo; from importlib.util import find_spec; find_spec('timm'); find_spec('timm'); import timm",
    ],
)
def test_both_networks_are_registered_whichever_is_imported_first(imports: str) -> None:
    model = "timm.create_model('lenet5_modern.mnist', pretrained=True)"
    code = f"{imports}; print(timm.list_models('lenet5_*'), {model}.F6.weight.sum().item())"
    # timm warns when a network is registered twice
    registered, weight = python(code, "-W", "error::UserWarning").rsplit(" ", 1)
    assert registered == "['lenet5_classic', 'lenet5_modern']"
    assert float(weight) == lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True).F6.weight.sum().item()


def test_a_deployment_without_dependencies_can_import_the_package(tmp_path: Path) -> None:
    """`pip install --no-deps`: no timm or torch."""
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('timm', 'torch', 'torchvision', 'safetensors'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import lenet_zoo\n"
        "print(lenet_zoo.model_card('lenet5_modern.mnist')['params'])"
    )
    assert python(code) == "61706"


def test_public_names() -> None:
    for name in lenet_zoo.__all__:
        assert getattr(lenet_zoo, name) is not None
    assert dir(lenet_zoo) == sorted(lenet_zoo.__all__)
    with pytest.raises(AttributeError, match="module 'lenet_zoo' has no attribute 'creat_model'"):
        lenet_zoo.creat_model  # noqa: B018


LOGITS = """
import hashlib, torch, lenet_zoo
x = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(0))
found = []
for name in ("lenet5_classic.mnist", "lenet5_modern.mnist"):
    with torch.inference_mode():
        logits = lenet_zoo.create_model(name, pretrained=True)(x)
    found.append(hashlib.sha256(logits.numpy().tobytes()).hexdigest())
"""


def test_processes_agree_to_the_bit() -> None:
    here: dict[str, list[str]] = {}
    exec(LOGITS, here)
    assert python(f"{LOGITS}\nprint(*found)").split() == here["found"]
