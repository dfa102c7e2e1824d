"""Training logs, and the curves that are drawn from them beside the paper's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lenet_zoo import figures
from lenet_zoo.errors import DataError


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


def test_curves_draw_errors_in_per_cent_and_the_papers_points() -> None:
    records = [dict(epoch=1, accuracy=0.95, validation_accuracy=0.97), dict(epoch=2, accuracy=0.99)]
    lines = figures.curves({"run": records}, paper=True).axes[0].get_lines()
    drawn = {line.get_label(): line.get_ydata() for line in lines}
    assert list(drawn["run, training"]) == pytest.approx([5, 1])
    assert math.isnan(drawn["run, validation"][1])  # not measured
    assert drawn["run, validation"][0] == pytest.approx(3)
    assert list(drawn["the paper's Fig. 5, test"]) == [test for _, test, _ in figures.paper_fig5()]
    assert list(drawn["the paper's Fig. 5, training"]) == [train for _, _, train in figures.paper_fig5()]
    assert len(figures.curves({"run": records}).axes[0].get_lines()) == 2


def test_epochs_without_an_error_stand_on_the_lower_edge_of_the_logarithmic_axis() -> None:
    records = [dict(epoch=i, accuracy=accuracy) for i, accuracy in enumerate([0.9, 1.0, 0.998, 1.0], 1)]
    figure = figures.curves({"run": records, "other": records[:1]})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    bottom = axes.get_ylim()[0]
    assert list(axes.get_lines()[0].get_ydata()) == pytest.approx([10, bottom, 0.2, bottom])
    assert 0 < bottom < 0.2
    assert [text.get_text() for text in axes.get_yticklabels()][-1] == "0"


def test_the_legend_covers_no_line() -> None:
    runs = {f"run {i}": [dict(epoch=1, accuracy=0.1, test_accuracy=0.1), dict(epoch=2, accuracy=0.9)] for i in range(4)}
    figure = figures.curves(runs)
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend().get_window_extent()
    assert legend.y0 >= figure.axes[0].get_window_extent().y1
    assert legend.y1 <= figure.bbox.y1
