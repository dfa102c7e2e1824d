"""target='c' in int8: integers alone, to the bit as the reference in numpy says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lenet_zoo
from lenet_zoo.errors import InputError
from lenet_zoo.export import checks
from lenet_zoo.export.calibration import bundled, fit
from lenet_zoo.export.targets.c_integers import Integers, quantized, tanh_table
from lenet_zoo.export.targets.c_layers import read_layers

from .c_program import COMPILERS, SANITIZERS, answers, assert_taken, compiled, needs_compiler
from .conftest import NAMES, Build, normalized, pictures, reference


def integers(model: nn.Module) -> Integers:
    """The reference of a network, calibrated as an export does."""
    network = checks.float_copy(model)
    spec = checks.input_spec(network, "pixels", 1, None)
    layers = read_layers(network, spec)
    return quantized(layers, fit(bundled(), spec.channels, spec.height, spec.width))


@needs_compiler
@pytest.mark.parametrize("compiler", [name for name in COMPILERS if name.endswith("c99")])
@pytest.mark.parametrize("name", NAMES)
def test_every_bit_is_the_reference_s(name: str, compiler: str, tmp_path: Path) -> None:
    model = lenet_zoo.create_model(name, pretrained=True)
    done = lenet_zoo.export(model, tmp_path / "digit.c", target="c", precision="int8")
    pixels = np.concatenate([bundled()[::10, None], pictures(20, 1, 28, 28)])
    found, logits, label = answers(compiled(done.path, "int8", COMPILERS[compiler], "-O2"), pixels, 10, "int8")
    np.testing.assert_array_equal(logits, integers(model).steps(pixels))
    assert found.tolist() == logits.argmax(1).tolist()
    assert label == "9"
    assert_taken(done.path)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "options", "mean"),
    [
        ("lenet5_modern", dict(num_classes=3, in_chans=3), 0.1307),
        ("lenet5_modern", dict(num_classes=1, in_chans=9), 0.0),
        ("lenet5_classic", dict(num_classes=26, in_chans=2, pad=1), 0.0),
        ("lenet5_classic", dict(num_classes=36, pad=0), 0.0),
    ],
)
def test_other_networks_under_sanitizers(
    network: Build, name: str, options: dict[str, Any], mean: float, tmp_path: Path
) -> None:
    model = network(name, **options)
    if mean:  # a border that is no black
        model.pretrained_cfg = {**model.pretrained_cfg, "mean": (mean,), "std": (0.3081,)}
    with torch.no_grad():
        for layer in (model.C1, model.C3, model.C5, model.F6, model.S2, model.S4):
            if hasattr(layer, "bias"):
                layer.bias.uniform_(-0.5, 0.5)
        model.C5.weight[7] = 0  # a unit that its bias alone decides
        if name == "lenet5_classic":
            model.S2.weight[0] = -0.3
            model.S4.weight[0] = 0
    size = 32 - 2 * options.get("pad", 2)
    shape = (options.get("in_chans", 1), size, size)
    pixels = np.concatenate(
        [pictures(20, *shape), np.zeros((1, *shape), np.uint8), np.full((1, *shape), 255, np.uint8)]
    )
    done = lenet_zoo.export(model, tmp_path / "n.c", target="c", precision="int8")
    program = compiled(done.path, "int8", next(iter(COMPILERS.values())), *SANITIZERS)
    _, logits, _ = answers(program, pixels, options["num_classes"], "int8")
    np.testing.assert_array_equal(logits, integers(model).steps(pixels))


@pytest.mark.parametrize("name", NAMES)
def test_little_accuracy_is_lost(name: str, mnist_train: Any) -> None:
    # On training digits: no setting of int8 was chosen on a test set. The command of the manual's table has all 10,000.
    pixels, labels = mnist_train.images.numpy()[-2000:, None], mnist_train.labels.numpy()[-2000:]
    model = lenet_zoo.create_model(name, pretrained=True)
    exact = reference(model, normalized(model, pixels)).argmax(1)
    found = np.concatenate([integers(model).logits(part).argmax(1) for part in np.split(pixels, 10)])
    assert (exact == labels).sum() - (found == labels).sum() <= 2
    assert (exact != found).sum() <= 4


def test_logits_are_near_the_network_s() -> None:
    for name in NAMES:
        model = lenet_zoo.create_model(name, pretrained=True)
        pixels = bundled()[:, None]
        wanted = reference(model, normalized(model, pixels))
        found = integers(model).logits(pixels)
        assert np.abs(found - wanted).mean() <= 0.01 * np.abs(wanted).max()


def test_the_file_has_integers_alone(tmp_path: Path) -> None:
    for name in NAMES:
        model = lenet_zoo.create_model(name, pretrained=True)
        text = lenet_zoo.export(model, tmp_path / "n.c", target="c", precision="int8").path.read_text()
        program = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        assert not re.search(r"\b(float|double|malloc|math)\b", program)
        assert re.findall(r"[0-9]\.[0-9].*", program) == re.findall(r"(?<=#define LENET_LOGIT ).*", program)


def test_memory_is_what_the_header_says(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    text = lenet_zoo.export(model, tmp_path / "n.c", target="c", precision="int8").path.read_text()
    # The file does not compile when its static memory is not of that size.
    assert int(re.findall(r"#define LENET_RAM (\d+)", text)[0]) <= 8_000
    assert "typedef char lenet_ram_is_as_stated[sizeof memory == LENET_RAM ? 1 : -1];" in text


def test_the_table_squashes() -> None:
    table = tanh_table()
    assert table[0] == 0
    assert (np.diff(table) >= 0).all()
    assert table[-1] == 127
    assert table[215] == 74  # f(1) = 1


def test_calibration_sets_the_ranges(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern")
    dark = np.clip(pictures(64, 28, 28), 0, 40)
    options: Any = dict(target="c", precision="int8")
    files = [
        lenet_zoo.export(model, tmp_path / "n.c", calibration=pixels, **options).path.read_bytes()
        for pixels in (None, dark)
    ]
    assert files[0] != files[1]


def test_sums_that_do_not_fit_are_refused(network: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in_chans=2000: in int8 at most 1326, as sums have 32 bits"):
        lenet_zoo.export(network("lenet5_modern", in_chans=2000), tmp_path / "n.c", target="c", precision="int8")
    model = network("lenet5_classic")
    model.output.weight *= 2
    with pytest.raises(InputError, match=r"an output code beyond ±1\.7"):
        lenet_zoo.export(model, tmp_path / "n.c", target="c", precision="int8")
    assert not os.listdir(tmp_path)
