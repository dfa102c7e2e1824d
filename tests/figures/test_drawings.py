"""Architecture, filters, maps and F6 show the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

import lenet_zoo
from lenet_zoo import figures
from lenet_zoo.models.layers import layer_table
from lenet_zoo.models.lenet5_classic import rbf_codes

from .conftest import DIGITS, texts


def test_the_architecture_is_the_layer_table(network: torch.nn.Module) -> None:
    layers = layer_table(network)
    written = texts(figures.architecture(layers, "net", figures.input_side(network)))
    for layer in layers:
        assert f"{layer.parameters:,}" in written
        assert f"{layer.connections:,}" in written
    assert {"C1: feature maps", "6@28×28", "S2: feature maps", "6@14×14", "16@10×10", "16@5×5"} <= {*written}
    assert {"C5: layer", "120", "F6: layer", "84", "output", "10"} <= {*written}
    total = sum(layer.parameters for layer in layers)
    assert f"net: {total:,} parameters" in " ".join(written)


def test_the_architecture_draws_every_map(network: torch.nn.Module) -> None:
    figure = figures.architecture(layer_table(network), "net", 28)
    squares = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_fill()]
    # the input, 6 + 6 + 16 + 16 planes, and the last unit of C5, F6 and the output
    assert len(squares) == 1 + 44 + 3


def test_the_architecture_of_a_colour_network_has_three_planes_of_input() -> None:
    model = lenet_zoo.create_model("lenet5_modern", in_chans=3)
    figure = figures.architecture(layer_table(model), "net", 28, channels=3)
    assert "3@28×28" in texts(figure)
    assert sum(isinstance(patch, Rectangle) and patch.get_fill() for patch in figure.axes[0].patches) == 3 + 44 + 3


def test_filters_frame_the_kernels_that_exist() -> None:
    for name, count in (("lenet5_classic", 60), ("lenet5_modern", 96)):
        figure = figures.filters(figures.kernels(lenet_zoo.create_model(name)))
        assert f"C3: {count} kernels 5×5, one column a map" in texts(figure)
        assert [len(axes.patches) for axes in figure.axes if len(axes.images) == 1] == [6, count]


def test_maps_say_what_the_network_answers(network: torch.nn.Module, picture: np.ndarray) -> None:
    states = figures.layer_states(network, picture)
    figure = figures.maps(states, DIGITS)
    bars = figure.axes[-1].patches
    widths = [bar.get_width() for bar in bars]
    confidences = torch.from_numpy(states["output"]).double().softmax(0)
    assert widths == pytest.approx(confidences.tolist())
    bold = [text.get_text() for text in figure.axes[-1].get_yticklabels() if text.get_fontweight() == "bold"]
    assert bold == [str(states["output"].argmax())]


def test_maps_and_f6_show_a_picture_in_its_colours(colour: np.ndarray) -> None:
    model = lenet_zoo.create_model("lenet5_classic", in_chans=3)
    states = figures.layer_states(model, colour)
    of_maps = figures.maps(states, DIGITS)
    assert "3@28×28" in texts(of_maps)
    for figure in (of_maps, figures.f6([states], figures.bitmaps(model), DIGITS)):
        shown = figure.axes[0].images[0].get_array()
        assert np.array_equal(shown, colour.transpose(1, 2, 0))


def test_f6_frames_the_nearest_bitmap_and_writes_every_distance(picture: np.ndarray) -> None:
    model = lenet_zoo.create_model("lenet5_classic")
    states = figures.layer_states(model, picture)
    figure = figures.f6([states], figures.bitmaps(model), DIGITS)
    distances = ((states["F6"][None] - np.array(rbf_codes(10))) ** 2).sum(1)
    written = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert written == [f"{distance:.1f}" for distance in distances]
    framed = [axes.get_title() for axes in figure.axes if axes.spines["left"].get_linewidth() > 1]
    assert framed == [str(distances.argmin())]


def test_f6_of_many_classes_draws_the_nearest_ten(picture: np.ndarray) -> None:
    model = lenet_zoo.create_model("lenet5_classic", num_classes=62)
    states = figures.layer_states(model, picture)
    labels = [f"class {i}" for i in range(62)]
    figure = figures.f6([states, states], figures.bitmaps(model), labels)
    nearest = sorted(np.argsort(-states["output"], kind="stable")[:10])
    shown = [axes.get_title() for axes in figure.axes if axes.get_title().startswith("class")]
    assert shown == [labels[i] for i in nearest] * 2


def test_curvature_draws_the_middle_of_each_layers_values_and_the_step_size_above() -> None:
    h = {"C1.weight": np.arange(1.0, 102), "F6.bias": np.full(84, 2.0), "dead": np.zeros(3)}
    figure = figures.curvature(h, eta=1e-3, mu=0.02)
    figure.draw_without_rendering()
    axes, above = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["C1.weight (101)", "F6.bias (84)", "dead (3)"]
    lines = [list(line.get_xdata()) for line in axes.get_lines()]
    assert lines[:3] == [[6, 96], [26, 76], [51]]
    assert lines[5] == [2]
    assert 0 < lines[8][0] < 0.02  # on the axis, though it has no place for 0
    steps = dict(zip(above.get_xticks(), [text.get_text() for text in above.get_xticklabels()], strict=True))
    assert steps[100.0] == "1e-05"
    powers = dict(zip(axes.get_xticks(), [text.get_text() for text in axes.get_xticklabels()], strict=True))
    assert (powers[100.0], powers[0.01]) == ("10²", "10⁻²")
    assert not any("$" in text.get_text() for text in axes.get_xticklabels(minor=True))
