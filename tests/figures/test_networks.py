"""The numbers that are drawn are those of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lenet_zoo
from lenet_zoo import figures
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.models.lenet5_classic import connection_table, rbf_codes


def test_kernels_of_the_classic_are_absent_where_table_1_has_no_connection() -> None:
    model = lenet_zoo.create_model("lenet5_classic")
    found = figures.kernels(model)
    assert found["C1"].shape == (6, 1, 5, 5)
    assert found["C3"].shape == (16, 6, 5, 5)
    present = [[i for i in range(6) if not np.isnan(kernels[i]).any()] for kernels in found["C3"]]
    assert present == connection_table()
    # The 60 kernels in the order of the table are the weights themselves.
    assert np.array_equal(found["C3"][~np.isnan(found["C3"])], model.C3.weight.detach().numpy().ravel())


def test_kernels_of_the_modern_are_its_weights() -> None:
    model = lenet_zoo.create_model("lenet5_modern", in_chans=3)
    found = figures.kernels(model)
    assert np.array_equal(found["C1"], model.C1.weight.detach().numpy())
    assert np.array_equal(found["C3"], model.C3.weight.detach().numpy())


def test_layer_states_are_those_on_the_way_to_the_logits(network: torch.nn.Module, picture: np.ndarray) -> None:
    network.train()
    states = figures.layer_states(network, picture)
    assert network.training
    assert {name: values.shape for name, values in states.items()} == {
        "input": (28, 28),
        "C1": (6, 28, 28),
        "S2": (6, 14, 14),
        "C3": (16, 10, 10),
        "S4": (16, 5, 5),
        "C5": (120,),
        "F6": (84,),
        "output": (10,),
    }
    assert np.allclose(states["output"], logits_of(network)(picture[None])[0], atol=1e-5)
    with torch.no_grad():
        from_f6 = network.output(torch.from_numpy(states["F6"])[None])[0]
        from_s4 = network.act5(network.C5(torch.from_numpy(states["S4"])[None])).flatten()
    assert np.allclose(states["output"], from_f6, atol=1e-4)
    assert np.allclose(states["C5"], from_s4, atol=1e-5)


def test_layer_states_that_are_not_finite_are_told(picture: np.ndarray) -> None:
    model = lenet_zoo.create_model("lenet5_modern")
    torch.nn.init.constant_(model.output.weight, 3e38)
    with pytest.raises(WeightsError, match=r"^output has values that are not finite: the network's weights may"):
        figures.layer_states(model, picture)


def test_layer_states_of_a_colour_network_see_grey_in_every_channel(picture: np.ndarray) -> None:
    model = lenet_zoo.create_model("lenet5_modern", in_chans=3)
    assert np.allclose(figures.layer_states(model, picture)["output"], logits_of(model)(picture[None])[0], atol=1e-5)


@pytest.mark.parametrize("name", ["lenet5_classic", "lenet5_modern"])
def test_layer_states_of_a_picture_in_colour(name: str, colour: np.ndarray) -> None:
    model = lenet_zoo.create_model(name, in_chans=3)
    states = figures.layer_states(model, colour)
    assert states["input"].shape == (3, 28, 28)
    assert np.allclose(states["output"], logits_of(model)(colour[None])[0], atol=1e-5)
    assert not np.allclose(states["output"], figures.layer_states(model, colour[0])["output"], atol=1e-3)


def test_layer_states_of_a_network_without_padding() -> None:
    model = lenet_zoo.create_model("lenet5_classic", pad=0)
    pixels = np.zeros((32, 32), np.uint8)
    assert figures.layer_states(model, pixels)["C1"].shape == (6, 28, 28)
    with pytest.raises(InputError, match=r"\(28, 28\).*32×32 in uint8"):
        figures.layer_states(model, pixels[:28, :28])


def test_layer_states_refuse_colour_for_a_grey_network_and_say_what_a_colour_network_takes(colour: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\(3, 28, 28\).*give one of 28×28 in uint8"):
        figures.layer_states(lenet_zoo.create_model("lenet5_modern"), colour)
    with pytest.raises(InputError, match="give one of 28×28 or 3×28×28 in uint8"):
        figures.layer_states(lenet_zoo.create_model("lenet5_modern", in_chans=3), colour[:2])


@pytest.mark.parametrize(
    ("pixels", "said"), [(np.zeros((32, 32), np.uint8), r"\(32, 32\)"), (np.zeros((28, 28)), "float64")]
)
def test_layer_states_refuse_other_pixels(pixels: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=f"{said}.*28×28 in uint8"):
        figures.layer_states(lenet_zoo.create_model("lenet5_modern"), pixels)


def test_other_modules_have_no_figures() -> None:
    with pytest.raises(InputError, match="not of Linear"):
        figures.kernels(torch.nn.Linear(2, 2))


def test_only_an_rbf_output_has_bitmaps() -> None:
    assert np.array_equal(figures.bitmaps(lenet_zoo.create_model("lenet5_classic")), np.array(rbf_codes(10)))
    with pytest.raises(InputError, match="lenet5_classic alone"):
        figures.bitmaps(lenet_zoo.create_model("lenet5_modern"))


def test_the_field_that_c1_sees() -> None:
    assert figures.input_side(lenet_zoo.create_model("lenet5_classic")) == 32
    assert figures.input_side(lenet_zoo.create_model("lenet5_classic", pad=0)) == 32
    assert figures.input_side(lenet_zoo.create_model("lenet5_modern")) == 28
