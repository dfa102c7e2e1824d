"""Every kind of picture is timed at every stage. No test looks at a time."""

from __future__ import annotations

import json

import pytest

from lenet_zoo.bench import pictures
from lenet_zoo.cli._app import run
from lenet_zoo.errors import InputError
from lenet_zoo.pictures.character import digit_from_image


@pytest.fixture(autouse=True)
def _small(no_waiting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_KINDS", ((28, 28, "PNG"), (120, 90, "JPEG")))


def test_every_stage_of_every_kind_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "pictures", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["picture"] for row in found["rows"]] == ["28×28 PNG", "120×90 JPEG"]
    assert all(row[stage] > 0 for row in found["rows"] for stage in ("decoding", "digit", "otsu", "network", "ratio"))
    assert run(["bench", "pictures", "--rounds", "1"]) == 0
    assert "120×90 JPEG" in capsys.readouterr().out


def test_what_is_timed_is_a_digit() -> None:
    for width, height, kind in ((200, 200, "PNG"), (1200, 900, "JPEG")):
        data = pictures._photo(width, height, kind)
        ours, plain = digit_from_image(data), pictures._otsu_box(data)
        assert ours.shape == plain.shape == (28, 28)
        assert ours.max() == 255
        assert plain.any()


def test_no_round_is_refused() -> None:
    with pytest.raises(InputError, match="rounds=0: at least 1"):
        pictures.time_pictures(0)
