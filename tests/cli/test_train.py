"""`train` and `recipes`: what their options take."""

from __future__ import annotations

from pathlib import Path

import pytest

from lenet_zoo.cli._app import run


def test_a_recipe_says_for_what_its_values_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes", "best", "--dataset", "fashion_mnist"]) == 0
    head, *_ = capsys.readouterr().out.splitlines()
    assert head == "best, for lenet5_modern on fashion_mnist (others by --model and --dataset)"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "--model=lenet5_modem",
            "--model lenet5_modem: unknown. Did you mean 'lenet5_modern'? One of lenet5_classic, ",
        ),
        ("--dataset=mnits", "--dataset mnits: unknown. Did you mean 'mnist'? One of mnist, "),
    ],
)
def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str], option: str, said: str) -> None:
    assert run(["recipes", "best", option]) == 2
    assert capsys.readouterr().err.startswith(f"lenet-zoo: {said}")


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--seeds", str(10**20)], "1000"), (["--seed", str(2**32 - 1), "--seeds", "2"], f"seed={2**32}: from 0 to")],
)
def test_seeds_are_few_and_in_range(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], said: str
) -> None:
    assert run(["train", "lenet5_modern", "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
