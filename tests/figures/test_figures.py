"""The figures show the numbers that they are given, are legible, and reach their file whole or not at all."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import lenet_zoo
from lenet_zoo import figures
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import DataError, InputError
from lenet_zoo.models.layers import layer_table
from lenet_zoo.models.lenet5_classic import connection_table, rbf_codes

DIGITS = tuple("0123456789")


@pytest.fixture
def picture() -> np.ndarray:
    """Ink on a few pixels, none of them symmetric."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[6:22, 12:15] = 255
    pixels[6:9, 9:18] = 180
    return pixels


@pytest.fixture(params=["lenet5_classic", "lenet5_modern"])
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    return lenet_zoo.create_model(request.param)


def texts(figure: Figure) -> list[str]:
    """Everything written in a figure."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]  # type: ignore[arg-type]
    return [text for text in found if text]


# ------------------------------------------------------------------------------------------------------------ data


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


def test_layer_states_of_a_colour_network_see_grey_in_every_channel(picture: np.ndarray) -> None:
    model = lenet_zoo.create_model("lenet5_modern", in_chans=3)
    assert np.allclose(figures.layer_states(model, picture)["output"], logits_of(model)(picture[None])[0], atol=1e-5)


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


def test_worst_mistakes_come_first_and_carry_softmax_figures() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]]))
    found = figures.worst_mistakes(logits + 1000, np.array([2, 1, 1, 0]))
    assert [(m.index, m.label, m.answer) for m in found] == [(0, 2, 0), (1, 1, 0), (3, 0, 1)]
    assert found[0].confidence == pytest.approx(0.7)
    assert found[0].loss == pytest.approx(-math.log(0.1))
    assert figures.worst_mistakes(logits, logits.argmax(1)) == []


def test_fig_8_names_82_test_digits_by_their_true_labels(mnist_test: Dataset) -> None:
    found = figures.paper_fig8()
    assert len(found) == 82
    assert all(mnist_test.labels[index] == label != answer for index, (label, answer) in found.items())


def test_fig_5_ends_at_the_errors_that_the_text_prints() -> None:
    found = figures.paper_fig5()
    assert [n for n, _, _ in found] == [*range(1, 11), 19]
    assert found[0] == (1, 2.65, 4.89)
    assert found[-1] == (19, 0.95, 0.35)


def log(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text(text)
    return folder


def test_a_log_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    folder = log(tmp_path / "run", '{"epoch": 1, "accuracy": 0.5}\n{"epoch": 2, "accuracy": 0.75}\n{"epoch": 3, "acc')
    assert [record["accuracy"] for record in figures.read_log(folder)] == [0.5, 0.75]
    assert figures.read_log(folder / "log.jsonl") == figures.read_log(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no epoch is over yet"),
        ('{"epoch": 1}\n', "line 1: not a record"),
        ('{"epoch": 1, "accuracy": 1}\n[1]\n', "line 2: not a record"),
        ("hello\n", "line 1: not a record"),
    ],
)
def test_what_is_no_log(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        figures.read_log(log(tmp_path / "run", text))


def test_a_missing_log_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no training log .*run"):
        figures.read_log(tmp_path / "run")
    (tmp_path / "weights").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text"):
        figures.read_log(tmp_path / "weights")


# --------------------------------------------------------------------------------------------------------- figures


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


def test_confusion_writes_every_count_and_the_error_of_each_class() -> None:
    matrix = np.array([[97, 2, 1], [0, 50, 0], [11, 4, 185]])
    written = texts(figures.confusion(matrix, ["ant", "bee", "cat"]))
    assert {"97", "2", "1", "50", "11", "4", "185", "3.00 %", "0.00 %", "7.50 %"} <= {*written}
    assert "18 mistakes of 350" in written


def test_confusion_of_empty_classes_and_of_no_mistakes() -> None:
    written = texts(figures.confusion(np.array([[5, 0], [0, 0]]), ["a", "b"]))
    assert "–" in written
    assert "0 mistakes of 5" in written
    with pytest.raises(InputError, match=r"\(2, 2\) for 3 classes"):
        figures.confusion(np.eye(2, dtype=int), ["a", "b", "c"])


def test_mistakes_frame_what_the_paper_got_wrong() -> None:
    found = [figures.Mistake(index, 1, 7, 0.9, 3.0 - i) for i, index in enumerate([4, 2, 9, 5])]
    figure = figures.mistakes(found, np.zeros((10, 28, 28), np.uint8), DIGITS, {2: (1, 7), 5: (1, 2), 8: (0, 0)}, 3)
    assert [axes.get_title() for axes in figure.axes] == ["4", "2", "9"]
    assert [axes.get_title() for axes in figure.axes if axes.spines["left"].get_linewidth() > 1] == ["2"]
    written = texts(figure)
    assert "The worst 3 of 4 mistakes on 10 pictures" in written
    assert "Framed: among the 3 of the paper's Fig. 8, as 2 of all 4 are" in written
    assert "1 → 7\n90 %" in written


def test_no_mistakes_at_all_is_a_figure_too() -> None:
    assert "0 mistakes on 10 pictures" in texts(figures.mistakes([], np.zeros((10, 28, 28), np.uint8), DIGITS))


def test_curves_draw_errors_in_per_cent_and_the_papers_points() -> None:
    records = [dict(epoch=1, accuracy=0.95, validation_accuracy=0.97), dict(epoch=2, accuracy=1.0)]
    lines = figures.curves({"run": records}, paper=True).axes[0].get_lines()
    drawn = {line.get_label(): line.get_ydata() for line in lines}
    assert drawn["run, training"][0] == pytest.approx(5)
    assert math.isnan(drawn["run, training"][1])  # no place on a logarithmic axis
    assert drawn["run, validation"][0] == pytest.approx(3)
    assert list(drawn["the paper's Fig. 5, test"]) == [test for _, test, _ in figures.paper_fig5()]
    assert list(drawn["the paper's Fig. 5, training"]) == [train for _, _, train in figures.paper_fig5()]
    assert len(figures.curves({"run": records}).axes[0].get_lines()) == 2


def benchmark() -> dict[str, object]:
    rows = [
        dict(threads=1, batch=1024, name="torch eager", pictures_per_second=14_600.0),
        dict(threads=1, batch=1024, name="ours, onnxruntime", pictures_per_second=104_000.0),
        dict(threads=1, batch=1, name="torch eager", pictures_per_second=950.0),
    ]
    return dict(model="net", rounds=15, machine={"processor": "a processor", "torch": "2"}, rows=rows)


def test_bench_draws_every_rate_and_leaves_a_gap_for_an_absent_one(tmp_path: Path) -> None:
    figure = figures.bench(benchmark())
    rates = {axes.get_title(loc="left"): [bar.get_width() for bar in axes.patches] for axes in figure.axes}
    assert rates == {"1 thread, batch 1": [950, 0], "1 thread, batch 1,024": [14_600, 104_000]}
    assert {"950", "–", "15 k", "104 k", "net: pictures per second"} <= {*texts(figure)}
    assert "a processor, torch 2\nmedian of 15 interleaved rounds" in texts(figure)
    (tmp_path / "bench.json").write_text(json.dumps(benchmark()))
    assert figures.read_bench(tmp_path / "bench.json") == benchmark()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 1, "rounds": 1, "machine": {}, "rows": [{}]}'])
def test_what_is_no_benchmark(tmp_path: Path, text: str) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(DataError, match=r"bench\.json is not a benchmark: `lenet-zoo bench inference --json"):
        figures.read_bench(tmp_path / "bench.json")
    with pytest.raises(DataError, match=r"there is no benchmark .*missing"):
        figures.read_bench(tmp_path / "missing")


# ---------------------------------------------------------------------------------------------------------- themes


def contrast(first: str, second: str) -> float:
    """WCAG 2's contrast ratio."""

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", figures.THEMES.values(), ids=figures.THEMES)
def test_everything_written_is_legible_on_its_page(theme: figures.Theme) -> None:
    assert contrast(theme.ink, theme.paper) > 7
    assert contrast(theme.muted, theme.paper) > 4.5
    assert all(contrast(colour, theme.paper) >= 3 for colour in (theme.negative, theme.positive, *theme.series[:3]))


def test_the_page_is_painted(tmp_path: Path) -> None:
    for name, theme in figures.THEMES.items():
        text = figures.save(figures.confusion(np.eye(2, dtype=int), "ab", name), tmp_path / "f.svg").read_text()
        assert f"fill: {theme.paper}" in text


def test_an_unknown_theme_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'drak'\. Did you mean 'dark'"):
        figures.maps({}, DIGITS, "drak")


# ----------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG"), (".PNG", b"\x89PNG")]
)
def test_the_suffix_chooses_the_format_and_the_bytes_are_reproducible(
    tmp_path: Path, suffix: str, magic: bytes
) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        assert figures.save(figures.confusion(np.eye(3, dtype=int), "abc"), file) == file
    assert files[0].read_bytes().startswith(magic)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    ("name", "said"),
    [("f.jpg", r"\.svg, \.pdf, \.png, and this name has '\.jpg'"), ("f", "has no suffix"), ("no/f.svg", "no folder")],
)
def test_targets_that_cannot_be_meant(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        figures.save(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.svg").mkdir()
    with pytest.raises(OSError, match=r"taken\.svg"):
        figures.save(Figure(), tmp_path / "taken.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.svg"]


def test_an_old_file_stays_when_drawing_fails(tmp_path: Path) -> None:
    target = tmp_path / "f.png"
    target.write_text("old")
    broken = Figure(figsize=(1e5, 1e5))  # larger than matplotlib can paint
    with pytest.raises(Exception):  # noqa: B017, PT011  whatever matplotlib says
        figures.save(broken, target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from lenet_zoo.errors import MissingExtraError\n"
        "try:\n    import lenet_zoo.figures\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "pictures are drawn by matplotlib: pip install 'lenet-zoo[plots]'\n"


def test_letters_are_outlines_so_that_no_font_is_needed(tmp_path: Path) -> None:
    text = figures.save(figures.confusion(np.eye(2, dtype=int), "ab"), tmp_path / "f.svg").read_text()
    assert "<text" not in text
    assert not re.search(r"\d{4}-\d\d-\d\dT", text)


def test_figures_leave_matplotlibs_settings_alone(tmp_path: Path) -> None:
    code = (
        "import numpy as np, matplotlib as m\n"
        "before = dict.copy(m.rcParams)\n"
        "from lenet_zoo import figures\n"
        "figures.save(figures.confusion(np.eye(2, dtype=int), 'ab'), 'f.svg')\n"
        "print([key for key, value in dict.items(m.rcParams) if before[key] != value])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"
