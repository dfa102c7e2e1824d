"""A run takes as many threads as pay, or as it is told, and leaves torch's setting as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lenet_zoo import create_model
from lenet_zoo.cli import main
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError
from lenet_zoo.finetuning import finetune
from lenet_zoo.training import threads as module
from lenet_zoo.training.processes import ALONE, Ranks
from lenet_zoo.training.recipe import Recipe, Recipe1998, RecipeLines
from lenet_zoo.training.run import train
from lenet_zoo.training.threads import fewest_that_pay, own_threads

MODERN = partial(create_model, "lenet5_modern")


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of four cores, all of which torch takes."""
    monkeypatch.setattr(module, "cores", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, float]], None]:
    """Let a step take so many seconds on so many threads."""

    def set_(seconds: dict[int, float]) -> None:
        monkeypatch.setattr(module, "_step", lambda *run: lambda: None)
        monkeypatch.setattr(module, "_time", lambda step, steps: (seconds[torch.get_num_threads()], 1))

    return set_


def _used(
    threads: int | None, data: Dataset, recipe: Any = None, ranks: Ranks = ALONE, *saved: Path
) -> tuple[int, str]:
    said: list[str] = []
    with own_threads(threads, MODERN, data, recipe or Recipe(batch_size=8), ranks, list(saved), said.append):
        return torch.get_num_threads(), "".join(said)


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        ({1: 1.0, 2: 0.55, 4: 0.3}, 4),
        ({1: 1.0, 2: 0.55, 4: 0.53}, 2),  # the last gain is less than a tenth
        ({1: 1.0, 2: 3.4, 4: 9.0}, 1),  # a busy machine
        ({1: 1.0, 2: 0.95, 4: 0.6}, 4),
        ({1: 1.0}, 1),
    ],
)
def test_more_threads_are_taken_where_they_save_a_tenth(seconds: dict[int, float], count: int) -> None:
    assert fewest_that_pay(seconds) == count


def test_what_pays_is_tried_and_said_and_torch_is_left_as_it_was(few: Dataset, four: None, times: Any) -> None:
    times({1: 1.0, 2: 2.0, 4: 3.0})
    assert _used(None, few) == (1, "training on 1 thread: more do not pay here now (--threads N)")
    assert torch.get_num_threads() == 4
    times({1: 1.0, 2: 0.5, 4: 0.3})
    assert _used(None, few) == (4, "")


def test_the_trial_takes_steps_of_the_run_and_leaves_its_random_numbers(few: Dataset, four: None) -> None:
    state = torch.get_rng_state()
    recipe = Recipe(batch_size=1, batch_norm=True, rotation=5)
    assert _used(None, few, recipe)[0] in (1, 2, 4)
    assert torch.equal(torch.get_rng_state(), state)


def test_told_threads_are_taken_as_they_are(few: Dataset, four: None) -> None:
    assert _used(3, few) == (3, "")
    assert _used(7, few, Recipe1998()) == (7, "")
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("ranks", [Ranks(torch.device("cpu"), 0, 2), Ranks(torch.device("cuda"))], ids=["two", "gpu"])
def test_nothing_is_tried_where_another_sets_the_threads(few: Dataset, four: None, ranks: Ranks) -> None:
    assert _used(None, few, None, ranks) == (4, "")
    assert _used(None, few, Recipe1998()) == (4, "")


def test_fewer_cores_or_a_setting_of_torchs_are_the_limit(
    few: Dataset, four: None, times: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    times({1: 1.0, 2: 0.5, 3: 0.3, 4: 0.2})
    torch.set_num_threads(3)
    assert _used(None, few)[0] == 3
    monkeypatch.setattr(module, "cores", lambda: 2)
    assert _used(None, few)[0] == 2


def test_a_resumed_run_takes_the_threads_that_it_had(few: Dataset, four: None, times: Any, tmp_path: Path) -> None:
    times({1: 1.0, 2: 0.5, 4: 0.3})
    torch.save({"threads": 2}, tmp_path / "checkpoint.pt")
    found = _used(None, few, None, ALONE, tmp_path / "nothing", tmp_path / "checkpoint.pt")
    assert found == (2, "training on 2 threads: as the run so far (--threads N)")
    assert _used(None, few, RecipeLines(), ALONE, tmp_path / "checkpoint.pt") == found
    assert _used(None, few, RecipeLines()) == (4, "")
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert _used(None, few, None, ALONE, tmp_path / "checkpoint.pt")[0] == 4


def test_the_number_reaches_a_run_and_its_card(small_mnist: Path, tmp_path: Path) -> None:
    card = train(
        "lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path / "run", changes=dict(epochs=1),
        data_root=small_mnist, device="cpu", threads=2,
    )  # fmt: skip
    assert card["created_with"]["machine"].endswith("2 threads")
    assert torch.get_num_threads() == 1


def test_threads_are_one_or_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="threads=0: 1 or more, or leave it out for as many as pay"):
        train("lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path / "run", threads=0)
    for command in (["train", "lenet5_modern"], ["finetune"]):
        with pytest.raises(SystemExit) as end:
            main([*command, "--out", str(tmp_path / "run"), "--threads", "0"])
        assert end.value.code == 2
    assert "--threads" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_a_seed_that_no_generator_takes_is_refused_before_anything_is_made(tmp_path: Path, seed: int) -> None:
    for start in (
        lambda out: train("lenet5_modern", dataset="mnist", recipe="baseline", out=out, seeds=[seed]),
        lambda out: finetune(out, dataset="digits", seed=seed),
    ):
        with pytest.raises(InputError, match=f"^seed={seed}: from 0 to 4294967295$"):
            start(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pictures_that_are_no_digit_are_tried_as_well(few: Dataset, four: None) -> None:
    none = replace(few, labels=torch.full_like(few.labels, len(few.classes)))
    assert _used(None, none, Recipe(batch_size=8, no_digits=0.5, j=10))[0] in (1, 2, 4)
    assert torch.get_num_threads() == 4


def test_a_trial_that_fails_leaves_the_threads_as_they_were(
    few: Dataset, four: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_step", lambda *run: fails)
    with pytest.raises(KeyboardInterrupt):
        _used(None, few)
    assert torch.get_num_threads() == 4
