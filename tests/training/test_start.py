"""A run that starts from the weights of a tag, as the recipe `scripts` does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lenet_zoo import create_model
from lenet_zoo.errors import InputError
from lenet_zoo.finetuning import finetune
from lenet_zoo.training.recipe import load_recipe
from lenet_zoo.training.run import train


def run(small_mnist: Path, out: Path, architecture: str = "lenet5_modern", **changes: object) -> dict[str, object]:
    return train(
        architecture, dataset="mnist", recipe="scripts", out=out, changes=dict(epochs=1, **changes), device="cpu",
        data_root=small_mnist,
    )  # fmt: skip


def test_a_run_starts_from_the_weights_of_the_tag(small_mnist: Path, tmp_path: Path) -> None:
    card = run(small_mnist, tmp_path / "out", lr=1e-9, ema=0)
    tag = create_model("lenet5_modern.mnist", pretrained=True).state_dict()
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.allclose(value, tag[key], atol=1e-6) for key, value in found.items())
    assert card["recipe"]["start"] == "lenet5_modern.mnist"  # type: ignore[index]
    # The card is the new network's own.
    assert card["sha256"] != create_model("lenet5_modern.mnist", pretrained=True).card.sha256
    run(small_mnist, tmp_path / "scratch", start="", lr=1e-9, ema=0)
    scratch = load_file(tmp_path / "scratch" / "model.safetensors")
    assert not torch.allclose(scratch["C1.weight"], tag["C1.weight"], atol=1e-3)


@pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic"])
def test_the_result_holds_a_share_of_the_start(small_mnist: Path, tmp_path: Path, name: str) -> None:
    run(small_mnist, tmp_path / "trained", name, lr=0.01)
    run(small_mnist, tmp_path / "mixed", name, lr=0.01, start_share=0.25)
    trained, mixed = (load_file(tmp_path / name / "model.safetensors") for name in ("trained", "mixed"))
    network = create_model(f"{name}.mnist", pretrained=True)
    learnt = dict(network.named_parameters())
    for key, value in network.state_dict().items():
        assert torch.allclose(trained[key], value, atol=1e-4) == (key not in learnt)
        assert torch.allclose(mixed[key].float(), 0.25 * value + 0.75 * trained[key], atol=1e-6)


def test_a_share_of_the_start_needs_a_start_and_a_rest() -> None:
    with pytest.raises(InputError, match="start_share without start: it is a part of its weights"):
        load_recipe("scripts", changes=dict(start="", start_share=0.2))
    with pytest.raises(InputError, match="start_share=1: nothing of the training would be left"):
        load_recipe("scripts", changes=dict(start_share=1))


@pytest.mark.parametrize(
    ("architecture", "start", "says"),
    [
        (
            "lenet5_classic",
            "lenet5_modern.mnist",
            "start=lenet5_modern.mnist: lenet5_classic does not start from that.",
        ),
        ("lenet5_modern", "lenet5_modern.mnst", "Did you mean 'lenet5_modern.mnist'? Take one of lenet5_modern."),
        ("lenet5_modern", "lenet5_modern.numbers", "lenet5_modern does not start from that."),  # it reads lines
        ("teacher", "lenet5_modern.mnist", "teacher does not start from that. Take start= for random weights"),
    ],
)
def test_other_starts_are_refused(small_mnist: Path, tmp_path: Path, architecture: str, start: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        run(small_mnist, tmp_path / "out", architecture, start=start)
    assert says in str(error.value)
    assert not (tmp_path / "out").exists()


def test_batch_norm_is_for_random_weights() -> None:
    with pytest.raises(InputError, match="batch_norm with start: it is for training from random weights"):
        load_recipe("scripts", changes=dict(batch_norm=True))


def test_each_network_has_its_own_start_in_scripts() -> None:
    for architecture in ("lenet5_modern", "lenet5_classic"):
        assert load_recipe("scripts", architecture=architecture).start == f"{architecture}.mnist"


def test_fine_tuning_is_told_its_start_by_model(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"recipe 'scripts' has start=lenet5_modern\.mnist: fine-tuning is told by model"
    ):
        finetune(tmp_path / "out", recipe="scripts")
