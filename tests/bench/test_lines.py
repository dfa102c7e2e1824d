"""Every stage of reading a line is timed, on lines that the network reads. No test looks at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lenet_zoo.bench import lines
from lenet_zoo.cli._app import run
from lenet_zoo.errors import InputError
from lenet_zoo.pictures.line import line_from_image


@pytest.mark.usefixtures("no_waiting")
def test_every_stage_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "lines", "--rounds", "1", "--digits", "3", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["digits"] == 3
    assert 28 < row["width"] < 150
    assert all(row[stage] > 0 for stage in ("strip", "network", "decoding"))


def test_what_is_timed_is_a_line() -> None:
    line = np.zeros((28, 60), np.uint8)
    line[4:24, 10:12] = line[4:24, 30:33] = 255
    pixels = line_from_image(lines._picture(line)).pixels
    assert pixels.any(0).sum() < pixels.shape[1] - 20  # ink on paper, with a margin


def test_no_round_and_no_digit_are_refused() -> None:
    for options in (dict(rounds=0), dict(digits=(8, 0))):
        with pytest.raises(InputError, match="at least 1"):
            lines.time_lines(**options)  # type: ignore[arg-type]


def test_a_network_of_single_characters_has_a_benchmark_of_its_own() -> None:
    with pytest.raises(InputError, match=r"reads single characters: take `lenet-zoo bench inference lenet5_modern`"):
        lines.time_lines("lenet5_modern")
