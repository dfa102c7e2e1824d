"""target='c': what the file answers when it is compiled, and what it says."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lenet_zoo
from lenet_zoo.errors import ArtifactError, InputError
from lenet_zoo.export.calibration import bundled
from lenet_zoo.export.targets import c, c_layers

from .c_program import COMPILERS, SANITIZERS, WARNINGS, answers, assert_taken, compiled, needs_compiler
from .conftest import NAMES, Build, normalized, pictures, reference

# What a label would have to hold to break out of a comment or a text.
HOSTILE = ["*/ int x; /*", 'a"b\\', "??/", "%s\n\r\t", "ж√💡", "/*/", "*//*", "\\u000a", "//", "end\\"]


def real_and_noise() -> np.ndarray:
    return np.concatenate([bundled()[::20, None], pictures(5, 1, 28, 28)])


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_compiled_file_answers_as_the_network(name: str, tmp_path: Path) -> None:
    model = lenet_zoo.create_model(name, pretrained=True)
    done = lenet_zoo.export(model, tmp_path / "digit.c", target="c")
    pixels = real_and_noise()
    wanted = reference(model, normalized(model, pixels))
    program = compiled(done.path, "fp32", next(iter(COMPILERS.values())), "-O1")
    found, logits, _ = answers(program, pixels, 10, "fp32")
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5 * max(10, np.abs(wanted).max()))
    assert found.tolist() == logits.argmax(1).tolist()
    assert_taken(done.path)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5_modern", dict(num_classes=3, in_chans=3)),
        ("lenet5_modern", dict(num_classes=1, global_pool="max")),
        ("lenet5_classic", dict(num_classes=26, in_chans=2, pad=1)),
        ("lenet5_classic", dict(num_classes=36, pad=0)),
    ],
)
def test_other_networks_of_the_kind_under_sanitizers(
    network: Build, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = network(name, **options)
    if name == "lenet5_classic":
        with torch.no_grad():
            for layer in (model.S2, model.S4):
                layer.weight.uniform_(-0.5, 0.5)
                layer.bias.uniform_(-0.5, 0.5)
    size = 32 - 2 * options.get("pad", 2)
    pixels = pictures(4, options.get("in_chans", 1), size, size)
    done = lenet_zoo.export(model, tmp_path / "n.c", target="c")
    program = compiled(done.path, "fp32", next(iter(COMPILERS.values())), *SANITIZERS)
    classes = options["num_classes"]
    found, logits, _ = answers(program, pixels, classes, "fp32")
    mean, std = (np.float32(model.pretrained_cfg[key][0]) for key in ("mean", "std"))
    wanted = reference(model, (pixels.astype(np.float32) / 255 - mean) / std)
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5 * max(10, np.abs(wanted).max()))
    assert found.tolist() == logits.argmax(1).tolist()


@needs_compiler
def test_the_program_of_the_manual_compiles(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
    program = re.findall(r"```c\n(.*?)```", text, re.S)[0]
    (tmp_path / "main.c").write_text(program)
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    lenet_zoo.export(model, tmp_path / "digit.c", target="c", precision="int8")
    assert_taken(tmp_path / "main.c")


@needs_compiler
def test_labels_stay_inside_comments_and_texts(network: Build, tmp_path: Path) -> None:
    for i in (0, 4):
        labels = HOSTILE[i:] + HOSTILE[:i]
        card = dict(labels=labels, dataset=labels[0], tag=labels[1], licence=labels[2])
        done = lenet_zoo.export(network("lenet5_modern"), tmp_path / "n.c", target="c", card=card)
        assert done.path.read_bytes().isascii()
        program = compiled(done.path, "fp32", next(iter(COMPILERS.values())), "-O0")
        assert answers(program, pictures(1, 1, 28, 28), 10, "fp32")[2] == labels[-1]
        assert_taken(done.path)
        comment = done.path.read_text().split("#ifndef", 1)[0]
        assert comment.startswith("/*")
        assert comment.index("*/") == len(comment) - len("*/\n")
        assert "/*" not in comment[2:]


@needs_compiler
def test_a_compiler_whose_int_has_16_bits_is_refused(network: Build, tmp_path: Path) -> None:
    # As on an MSP430: sums would overflow there, and answers be wrong without a word.
    done = lenet_zoo.export(network("lenet5_modern"), tmp_path / "n.c", target="c", precision="int8")
    (tmp_path / "small.h").write_text("#include <limits.h>\n#undef INT_MAX\n#define INT_MAX 32767\n")
    command = [*next(iter(COMPILERS.values())), "-include", tmp_path / "small.h", "-fsyntax-only", done.path]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "int has fewer than 32 bits on this processor" in found.stderr


@needs_compiler
def test_two_networks_in_one_program(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
    renamed, main = re.search(r"Two networks.*?```c\n(.*?)```.*?```c\n(.*?)```", text, re.S).groups()
    for name, own in (("lenet5_modern", "digit"), ("lenet5_modern.fashion_mnist", "clothes")):
        model = lenet_zoo.create_model(name, pretrained=True)
        lenet_zoo.export(model, tmp_path / f"{own}.c", target="c", precision="int8")
        (tmp_path / f"{own}_net.c").write_text(renamed.replace("digit", own))
    rest = main.replace("digit", "clothes")
    (tmp_path / "main.c").write_text(
        "#include <stdint.h>\n#include <stdio.h>\n"
        + main
        + rest
        + "int main(void)\n{\n    static uint8_t pixels[784];\n"
        + '    printf("%s %s", digit_labels[digit_read(pixels, 0)], clothes_labels[clothes_read(pixels, 0)]);\n'
        + "    return 0;\n}\n"
    )
    sources = [tmp_path / name for name in ("main.c", "digit_net.c", "clothes_net.c")]
    command = [*next(iter(COMPILERS.values())), *WARNINGS, "-o", tmp_path / "program", *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    digit, clothes = said.split(" ", 1)
    assert digit in lenet_zoo.model_card("lenet5_modern.mnist")["labels"]
    assert clothes in lenet_zoo.model_card("lenet5_modern.fashion_mnist")["labels"]


def test_the_file_says_where_it_comes_from_and_is_the_same_each_time(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    text = lenet_zoo.export(model, tmp_path / "a.c", target="c").path.read_text()
    assert f" * weights_sha256: {model.card.sha256}\n" in text
    assert " * tag: mnist\n" in text
    assert re.search(r'created_with: \{"lenet_zoo": "[\d.]+", "numpy": .*"torch": ', text)
    assert str(tmp_path) not in text
    assert lenet_zoo.export(model, tmp_path / "b.c", target="c").path.read_text() == text


def test_numbers_are_written_to_the_last_bit() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    values = np.concatenate([values * np.float32(10.0) ** np.arange(-20, 20, 0.04, np.float32), [0, 1, -2, 1e9]])
    texts = [c.number(float(value)) for value in values]
    assert all(re.fullmatch(r"-?\d+(\.\d+)?(e[-+]\d+)?f", text) and re.search("[.e]", text) for text in texts)
    np.testing.assert_array_equal(np.array([text[:-1] for text in texts]).astype(np.float32), values.astype(np.float32))


def test_a_wrong_file_is_not_written(network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> c_layers.Layers:
        layers = read(*arguments)
        return replace(layers, bias={**layers.bias, "C5": -layers.bias["C5"]})

    read = c.read_layers
    monkeypatch.setattr(c, "read_layers", wrong)
    with pytest.raises(ArtifactError, match=r"the file is not the model: logits differ by up to"):
        lenet_zoo.export(network("lenet5_modern"), tmp_path / "n.c", target="c")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("build", "options", "text"),
    [
        (dict(), dict(target="rust"), "target='rust': one of 'onnx', 'c', 'litert' and 'executorch'"),
        (dict(), dict(opset=17), "opset is an option of target='onnx', and target='c' has no such choice"),
        (dict(), dict(probabilities=True), "probabilities is an option of target='onnx'"),
        (dict(), dict(fast=False), "fast is an option of target='onnx'"),
        (dict(), dict(input="pixels_float"), "input is an option of target='onnx'"),
        (dict(), dict(precision="fp16"), "precision='fp16': one of 'fp32' and 'int8'"),
        (dict(num_classes=0), dict(), "num_classes=0: a C file answers with a class"),
        (dict(global_pool=""), dict(), "global_pool='': a C file answers once a picture"),
    ],
)
def test_refusals(network: Build, tmp_path: Path, build: Any, options: Any, text: str) -> None:
    with pytest.raises(InputError, match=re.escape(text)):
        lenet_zoo.export(network("lenet5_modern", **build), tmp_path / "n.c", **{"target": "c", **options})
    assert not list(tmp_path.iterdir())


def test_a_network_for_larger_pictures_is_refused(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern")
    model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (1, 40, 40)}
    with pytest.raises(InputError, match="pictures of 40×40: a C file of this network takes 28×28"):
        lenet_zoo.export(model, tmp_path / "n.c", target="c")


def test_the_package_s_part_is_its_function(network: Build, tmp_path: Path) -> None:
    done = lenet_zoo.export(network("lenet5_modern"), tmp_path / "m.onnx", input="pixels")
    assert Path(done) == done.path == tmp_path / "m.onnx"
    assert lenet_zoo.export.export_onnx is lenet_zoo.export_onnx
