"""The picture of the switches shows each seed, the mean and the spread of the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lenet_zoo import figures
from lenet_zoo.errors import DataError

from .conftest import texts

DOCUMENT = {
    "machine": "a machine",
    "rows": {
        "first": {"switch": "`net`, as it was", "errors": [3.0, 5.0]},
        "second": {"switch": "tanh → ReLU", "errors": [2.0]},
    },
}


def test_every_seed_the_mean_and_the_spread_are_drawn() -> None:
    figure = figures.ablation(DOCUMENT)
    (axes,) = figure.axes
    lines = [np.asarray(line.get_xdata()) for line in axes.get_lines()]
    assert lines[0] == pytest.approx([4 - 2**0.5, 4 + 2**0.5])
    assert [list(line) for line in lines[1:]] == [[3, 5], [4], [2, 2], [2], [2]]
    assert {"net, as it was", "tanh → ReLU"} <= {*texts(figure)}


@pytest.mark.parametrize(
    "rows",
    [{}, {"a": {"errors": [1.0]}}, {"a": {"switch": "x", "errors": []}}, {"a": {"switch": "x", "errors": ["1"]}}],
)
def test_another_document_is_refused(rows: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "ablation.json"
    path.write_text(json.dumps({**DOCUMENT, "rows": rows}))
    with pytest.raises(DataError, match=r"is no table of switches: `python examples/ablate\.py"):
        figures.read_ablation(path)
    with pytest.raises(DataError, match="there is no table of switches"):
        figures.read_ablation(tmp_path / "none.json")
    path.write_text(json.dumps(DOCUMENT))
    assert figures.read_ablation(path) == DOCUMENT
