"""Names of files, classes and networks are data: nothing in them is a formula, markup, an escape sequence or a line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import lenet_zoo
from lenet_zoo import cards, figures, finetuning
from lenet_zoo.cards import Card
from lenet_zoo.cli._app import run
from lenet_zoo.errors import InputError, printable

NAMES = ["$x^{2$", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "two\nlines", "[red]m[b]", ":smile:", "\u202egnp", "é"]
NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command line; what it printed on stdout and stderr, in which a terminal finds nothing to obey."""
    monkeypatch.setattr(finetuning, "_LEAST_PER_EPOCH", 1)

    def call(*argv: str, status: int = 0) -> tuple[str, str]:
        assert run([*argv]) == status
        printed = capsys.readouterr()
        for text in printed:
            assert all(printable(line) == line or line >= "\ud800" for line in text.splitlines()), repr(text)
        return printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of digits in folders of these names."""
    folder = tmp_path_factory.mktemp("data") / "\x1b[2J $x^{2$ data"
    bunch = load_digits()
    for digit, name in enumerate([*NAMES, NOT_UTF8]):
        try:
            (folder / name).mkdir(parents=True)
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
        for i in np.flatnonzero(bunch.target == digit)[:8]:
            paper = Image.new("L", (140, 140), 255)
            paper.paste(Image.fromarray((255 - bunch.images[i] * 15).astype("uint8")).resize((80, 80)), (30, 30))
            paper.save(folder / name / f"{i}.png")
    return folder


def test_a_network_of_classes_with_such_names(command, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run\n\x1b[31m"
    labels = {*NAMES, "caf\\xe9"}
    said, _ = command("finetune", "--data-dir", str(data), "--out", str(out), "--set", "epochs=1", "--set", "warmup=0")
    assert "9 of \\x1b[2J $x^{2$ data" in said
    card = json.loads((out / "card.json").read_text("utf-8"))
    assert set(card["labels"]) == labels
    assert card["dataset"] == "\x1b[2J $x^{2$ data"
    onnx, folder, picture = str(out / "model.onnx"), f"local-dir:{out}", str(data / NAMES[0] / "0.png")
    for name in (onnx, folder):
        said, _ = command("info", name)
        assert "\\x1b]0;title\\x07, " in said
        said, _ = command("info", name, "--json")
        document = json.loads(said)
        assert set((document if name == onnx else document["card"])["labels"]) == labels
        said, _ = command("evaluate", name, "--data-dir", str(data))
        assert "two\\nlines" in said
        said, _ = command("predict", name, picture, "--top-k", "9")
        assert all(printable(label) in said for label in labels)
    for what in (["confusion", folder], ["confusion", folder, "--data-dir", str(data)], ["curves", str(out)]):
        command("plot", *what, "-o", str(tmp_path / "figure.svg"))
    command("plot", "maps", folder, picture, "-o", str(tmp_path / "figure.pdf"))
    said, _ = command("export", folder, "-o", str(tmp_path / "\x1bm.onnx"))
    assert f"{tmp_path}/\\x1bm.onnx: " in said


def test_pictures_and_networks_whose_files_have_such_names(command, tmp_path: Path) -> None:
    model = lenet_zoo.export_onnx(lenet_zoo.create_model("lenet5_modern", pretrained=True), tmp_path / "m.onnx")
    source = Path(__file__).parent / "fixtures" / "pictures" / "pen_fat.png"
    for name in [*NAMES, NOT_UTF8]:
        picture, network = tmp_path / f"{name}.png", tmp_path / f"{name}.onnx"
        shutil.copyfile(source, picture)
        shutil.copyfile(model, network)
        said, _ = command("predict", str(network), str(picture))
        assert said.startswith(f"{tmp_path}/{printable(name)}.png: ")
        picture.write_bytes(b"no picture")
        _, said = command("predict", str(network), str(picture), status=2)
        assert said.startswith(f"lenet-zoo: {tmp_path}/{printable(name)}.png is not a picture")
        network.write_bytes(b"no network")
        _, said = command("info", str(network), status=1)
        assert said == f"lenet-zoo: {tmp_path}/{printable(name)}.onnx is not an ONNX file\n"
        _, said = command("info", f"local-dir:{tmp_path}/{name}", status=1)
        assert said.startswith(f"lenet-zoo: no folder {tmp_path}/{printable(name)}: give one that ")


def test_a_picture_of_a_card_without_a_confusion_matrix(command, tmp_path: Path) -> None:
    """A split's name is printed, too."""
    card = Card.parse(json.loads(cards.card_path("lenet5_modern.mnist").read_bytes()), "the card")
    metrics = {f"{name}": {"correct": 1, "total": 2} for name in NAMES}
    shutil.copyfile(cards.weight_path("lenet5_modern.mnist"), tmp_path / "model.safetensors")
    from dataclasses import replace

    import timm

    network = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True)
    timm.models.save_for_hf(network, tmp_path, model_config={"label_names": [*"0123456789"]}, safe_serialization=True)
    replace(card, metrics=metrics, sha256=cards.sha256_of(tmp_path / "model.safetensors")).write(tmp_path / "card.json")
    said, _ = command("info", f"local-dir:{tmp_path}")
    assert all(f"\n{printable(name)}: 1/2 correct, 50.00 %\n" in said for name in NAMES)


def test_an_error_is_one_line_whatever_is_in_it() -> None:
    assert str(InputError(f"{NOT_UTF8}\x1b[2J\na\u202eb")) == "caf\\xe9\\x1b[2J\\na\\u202eb"


def test_a_figure_draws_a_name_as_it_is(tmp_path: Path) -> None:
    figure = figures.confusion(np.eye(len(NAMES), dtype=int), NAMES)
    for suffix in ("svg", "png", "pdf"):
        figures.save(figure, tmp_path / f"confusion.{suffix}")
    drawn = {text.get_text() for text in figure.axes[0].get_xticklabels()}
    assert {"$x^{2$", "\\x1b[31mred\\x1b[0m", "two\\nlines"} <= drawn
