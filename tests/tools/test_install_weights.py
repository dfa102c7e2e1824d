"""Putting the result of a run among the shipped weights."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from lenet_zoo import cards
from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.training.run import train

FILE = Path(__file__).parents[2] / "tools" / "install_weights.py"
spec = importlib.util.spec_from_file_location("install_weights", FILE)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def test_the_card_also_says_what_random_weights_reached(small_mnist, tmp_path, monkeypatch):
    def run(out, **changes):
        return train(
            "lenet5_modern", dataset="mnist", recipe="scripts", out=tmp_path / out, changes=dict(epochs=1, **changes),
            device="cpu", data_root=small_mnist,
        )  # fmt: skip

    run("started")
    random = run("random", start="")
    monkeypatch.setattr(cards, "_FOLDER", tmp_path)
    tool.install(tmp_path / "started", "lenet5_modern.mine", tmp_path / "random")
    card = json.loads((tmp_path / "lenet5_modern.mine.json").read_text())
    accuracy = random["metrics"]["test"]["accuracy"]
    assert card["scratch"] == {
        "n": 1, "values": [0], "accuracy": [accuracy], "mean": accuracy, "command": random["command"],
    }  # fmt: skip
    assert card["metrics"]["test"]["accuracy"] != accuracy
    with pytest.raises(InputError, match="did not start from random weights"):
        tool.install(tmp_path / "started", "lenet5_modern.mine", tmp_path / "started")


def test_install_puts_weights_and_card_in_place(small_mnist, tmp_path, monkeypatch):
    out = tmp_path / "out"
    train(
        "lenet5_modern", dataset="mnist", recipe="baseline", out=out, changes=dict(epochs=1), device="cpu",
        data_root=small_mnist,
    )  # fmt: skip
    shipped = tmp_path / "weights"
    shipped.mkdir()
    monkeypatch.setattr(cards, "_FOLDER", shipped)
    tool.install(out, "lenet5_modern.mine_mnist")
    card = json.loads((shipped / "lenet5_modern.mine_mnist.json").read_text())
    assert card["tag"] == "mine_mnist"
    content = (shipped / "lenet5_modern.mine_mnist.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    with pytest.raises(InputError, match=r"^'lenet5_classic.x' for weights of lenet5_modern: give lenet5_modern.TAG$"):
        tool.install(out, "lenet5_classic.x")
    (out / "model.safetensors").write_bytes(content[:-1] + b"x")
    with pytest.raises(TrainingError, match=r"are not those of its card$"):
        tool.install(out, "lenet5_modern.mine_mnist")
    with pytest.raises(TrainingError, match=r"holds no finished run: card\.json is missing$"):
        tool.install(tmp_path, "lenet5_modern.mine_mnist")
