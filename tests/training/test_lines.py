"""Training on lines: what it starts with, that it learns, and that it goes on where it stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import lenet_zoo
from lenet_zoo.classify.onnx_file import read_metadata
from lenet_zoo.classify.torch import normalized
from lenet_zoo.datasets import forms
from lenet_zoo.datasets.lines import APART, LineMaker, LineStyle
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, UnknownModelError
from lenet_zoo.evaluation import edits, evaluate_lines, evaluate_readings
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.lines import build_for_lines, fit_lines, line_figures
from lenet_zoo.training.recipe import RecipeLines

QUICK = RecipeLines(epochs=2, updates=6, columns=600, most=4, warmup=0.0, ema=0.5)


def build(architecture: str = "lenet5_modern") -> torch.nn.Module:
    return build_for_lines(architecture, 10, f"{architecture}.mnist")


@pytest.mark.parametrize(("architecture", "parameters"), [("lenet5_modern", 61_791), ("lenet5_classic", 60_000)])
def test_the_start_reads_digits_as_its_tag_does(few: Dataset, architecture: str, parameters: int) -> None:
    model, known = build(architecture), lenet_zoo.create_model(f"{architecture}.mnist", pretrained=True)
    x = normalized(known, few.images[:50])
    with torch.inference_mode():
        found = model(x)[..., 0, 0]
        torch.testing.assert_close(found[:, :10], known(x))
    if architecture == "lenet5_classic":
        assert (found[:, 10] == -40).all()  # "none" is Eq. 9's rubbish class
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_another_network_or_start_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="teacher"):
        build_for_lines("teacher", 10, "")
    with pytest.raises(InputError, match=r"start='lenet5_modern\.mnist': give a tag of lenet5_classic with 10 classes"):
        build_for_lines("lenet5_classic", 10, "lenet5_modern.mnist")
    with pytest.raises(InputError, match=r"start='lenet5_modern\.mnist': give a tag of lenet5_modern with 26 classes"):
        build_for_lines("lenet5_modern", 26, "lenet5_modern.mnist")


@pytest.mark.parametrize(("architecture", "options"), [("lenet5_modern", {}), ("lenet5_classic", dict(j=40))])
def test_answers_every_2_px_are_those_of_two_passes_of_which_one_is_shifted(
    architecture: str, options: dict[str, float]
) -> None:
    model = build(architecture)
    passes = lenet_zoo.create_model(architecture, num_classes=11, global_pool="", **options)
    passes.load_state_dict(model.state_dict())
    x = torch.rand(2, 1, 28, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = model(x)
        assert found.shape == (2, 11, 1, 19)
        for first in (0, 2):
            wanted = passes(x[..., first:])
            # C1 pads both ends with background, so the first and the last window of a shifted pass differ.
            inner = slice(1, wanted.shape[3] - 1)
            torch.testing.assert_close(found[..., first // 2 :: 2][..., inner], wanted[..., inner])
        torch.testing.assert_close(model.plain()(x), found, rtol=0, atol=2e-4)


@pytest.mark.parametrize("architecture", ["lenet5_modern", "lenet5_classic"])
def test_a_few_updates_lower_the_loss_and_a_resumed_run_is_the_same(
    few: Dataset, tmp_path: Path, architecture: str
) -> None:
    begun = partial(build, architecture)
    random = torch.get_rng_state()
    whole = fit_lines(begun, few, QUICK, RunFolder(tmp_path / "whole"), seed=1)
    assert torch.equal(torch.get_rng_state(), random)
    assert whole.history[1]["loss"] < whole.history[0]["loss"]
    folder = RunFolder(tmp_path / "parts")

    class Stop(Exception):
        pass

    class Stopping(lenet_zoo.training.monitor.Monitor):  # type: ignore[name-defined, attr-defined]
        def epoch(self, record: dict) -> None:
            raise Stop

    with pytest.raises(Stop):
        fit_lines(begun, few, QUICK, folder, seed=1, monitor=Stopping())
    resumed = fit_lines(begun, few, QUICK, folder, seed=1, resume=True)
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_digits_of_quick_hands_and_of_type_are_among_those_of_other_writers(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Dataset, tuple[int, float]]] = []

    class Maker(LineMaker):
        def __init__(self, data: Dataset, style: LineStyle, seed: int, more: tuple[int, float]) -> None:
            made.append((data, more))
            super().__init__(data, style, seed, more)

    monkeypatch.setattr("lenet_zoo.training.lines.LineMaker", Maker)
    fit_lines(build, few, replace(QUICK, epochs=1, hurried=0.134, printed=0.067, others=0.3), RunFolder(tmp_path))
    assert {more for _, more in made} == {(60, 0.3), (60, 0.0)}  # `few` has no other writers
    assert np.array_equal(made[0][0].images[:40], forms.digits(forms.hurried, 40, seed=3)[0])
    assert np.array_equal(made[0][0].images[40:60], forms.digits(forms.printed, 20, seed=5)[0])
    assert torch.equal(made[0][0].images[60:], few.images)
    assert made[0][0].labels.tolist() == [*range(10)] * 6 + few.labels.tolist()


def test_figures_count_whole_lines_and_edits(few: Dataset) -> None:
    found = line_figures(build(), few, count=20, styles={"apart": APART})["apart"]
    assert (found.total, found.characters) == (20, 100)
    assert 0 <= found.correct <= 20
    assert found.edits >= found.total - found.correct
    assert np.isfinite(found.loss)
    assert found.sure_wrong <= found.sure <= 20
    assert found.as_dict()["accuracy"] == found.correct / 20


def test_the_loss_is_of_a_character_and_figures_are_those_of_whole_lines() -> None:
    def answers(lines: np.ndarray) -> np.ndarray:
        """Surely 3 and 5, the 5 by so many nats as the line is light."""
        logits = np.full((len(lines), 17, 11), -40.0)
        logits[:, :, 10] = 0
        logits[:, [1, 15], 10] = -40
        logits[:, 1, 3] = 0
        logits[:, 15, 5], logits[:, 15, 8] = lines[:, 0, 0], 0
        return logits

    pixels = np.zeros((3, 28, 60), np.uint8)
    pixels[:, 0, 0] = 8, 6, 8
    found = evaluate_lines(answers, [(pixels[:2], [(3, 5), (3, 8)]), (pixels[2:], [(3, 5)])], temperature=2.0)
    doubt, wrong = math.log1p(math.exp(-4)), 3 + math.log1p(math.exp(-3))
    assert found.loss == pytest.approx((2 * doubt + wrong) / 6)
    assert (found.correct, found.total, found.edits, found.characters) == (2, 3, 1, 6)
    assert (found.sure, found.sure_wrong) == (2, 0)  # with caution, e^-doubt to the power of 1.5 is over 0.95


def test_figures_of_readings_count_what_was_refused_as_wrong_and_what_was_sure() -> None:
    found = evaluate_readings([("12", 0.95, "12"), ("13", 0.96, "12"), ("1", 0.94, "12"), (None, 0.99, "12")])
    assert (found.correct, found.total, found.refused) == (1, 4, 1)
    assert (found.edits, found.characters) == (0 + 1 + 1 + 2, 8)
    assert (found.sure, found.sure_wrong) == (2, 1)


@pytest.mark.parametrize(("one", "other", "wanted"), [((), (1, 2), 2), ((1, 2, 3), (1, 3), 1), ((1, 2), (2, 1), 2)])
def test_edits(one: tuple[int, ...], other: tuple[int, ...], wanted: int) -> None:
    assert edits(one, other) == edits(other, one) == wanted


def test_the_command_writes_a_network_that_reads_numbers(small_mnist: Path, tmp_path: Path) -> None:
    from lenet_zoo.training import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "line_figures", lambda model, data: line_figures(model, data, count=4))
        card = run.train(
            "lenet5_modern",
            dataset="mnist",
            recipe="numbers",
            out=tmp_path / "run",
            changes=dict(epochs=1, updates=2, columns=300, most=3),
            device="cpu",
            data_root=small_mnist,
        )
    assert card["labels"] == [*"0123456789", "none"]
    assert card["preparation"] == "line"
    assert {"test", "test_touching", "test_written"} <= card["metrics"].keys()
    model = lenet_zoo.create_model(
        "lenet5_modern", checkpoint_path=tmp_path / "run" / "model.safetensors", num_classes=11, global_pool=""
    )
    lenet_zoo.export_onnx(model, tmp_path / "numbers.onnx", input="pixels")
    assert read_metadata(tmp_path / "numbers.onnx")["input"]["shape"] == ["batch", 1, 28, "width"]
    lenet_zoo.OnnxReader(tmp_path / "numbers.onnx")


def test_a_run_may_go_on_from_a_network_of_lines_and_learn_characters_alone(few: Dataset, tmp_path: Path) -> None:
    known = lenet_zoo.create_model("lenet5_modern.numbers", pretrained=True)
    start = build_for_lines("lenet5_modern", 10, "lenet5_modern.numbers")
    assert all(torch.equal(one, start.state_dict()[name]) for name, one in known.state_dict().items())
    found = [
        fit_lines(build, few, QUICK.set({"alone": weight}), RunFolder(tmp_path / str(weight)), seed=1).history
        for weight in (0.0, 1.0)
    ]
    assert found[1][0]["loss"] > found[0][0]["loss"] + 0.05  # of an untrained "none"
    assert found[1][1]["loss"] < found[1][0]["loss"]


def test_a_part_of_the_result_may_be_the_weights_that_it_began_with(few: Dataset, tmp_path: Path) -> None:
    whole, half = (
        fit_lines(
            build, few, QUICK.set({"start": "lenet5_modern.mnist", "start_share": share}), RunFolder(tmp_path / name)
        )
        for name, share in (("whole", 0.0), ("half", 0.5))
    )
    for key, first in build().state_dict().items():
        wanted = (whole.model.state_dict()[key] + first) / 2
        torch.testing.assert_close(half.model.state_dict()[key], wanted, msg=key)
        assert not torch.equal(first, wanted)
    with pytest.raises(InputError, match="start_share without start"):
        QUICK.set({"start_share": 0.5})
