"""The race of `fast` against the DataLoader loop: what counts, and what does not. No test looks at a time."""

import pytest

from lenet_zoo import create_model
from lenet_zoo.bench import training
from lenet_zoo.errors import InputError
from lenet_zoo.training.fused import fuse
from lenet_zoo.training.stages import is_compiled


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(training, "EPOCHS", 3)


def test_each_side_runs_once_a_round_with_its_seed(small_mnist):
    told = []
    result = training.time_training(rounds=2, target=0.0, root=small_mnist, progress=told.append)
    assert [race.seed for race in result.baseline] == [race.seed for race in result.fast] == [0, 1]
    # The baseline stops at the first epoch that reaches the target; fast always runs its recipe to the end.
    assert [race.epochs for race in result.baseline] == [1, 1]
    assert all(race.reached and race.seconds > 0 for race in [*result.baseline, *result.fast])
    assert len(told) == 4
    assert (result.compiling is not None) == is_compiled(fuse(create_model("lenet5_modern"), compiled=True))
    assert result.ratio == pytest.approx(
        sum(race.seconds for race in result.baseline) / sum(race.seconds for race in result.fast)
    )


def test_the_folder_may_be_that_of_mnist_itself(small_mnist, monkeypatch):
    monkeypatch.setattr(training, "_fast", lambda *a: training.Race(0, 1, 2.0, 0.99, True))
    result = training.time_training(rounds=1, target=0.0, root=small_mnist / "MNIST")
    assert result.baseline[0].reached


def test_a_target_that_is_not_reached_is_told(small_mnist):
    result = training.time_training(rounds=1, target=1.1, root=small_mnist)
    assert (result.baseline[0].epochs, result.baseline[0].reached, result.fast[0].reached) == (3, False, False)
    assert result.ratio is None


def test_a_baseline_that_does_not_arrive_gives_a_lower_bound(small_mnist, monkeypatch):
    monkeypatch.setattr(training, "_fast", lambda *a: training.Race(0, 1, 2.0, 0.99, True))
    monkeypatch.setattr(training, "_baseline", lambda *a: training.Race(0, 20, 100.0, 0.98, False))
    result = training.time_training(rounds=1, root=small_mnist)
    assert (result.ratio, result.at_least) == (50, True)


def test_at_least_one_round(small_mnist):
    with pytest.raises(InputError, match=r"^rounds=0: at least 1$"):
        training.time_training(rounds=0, root=small_mnist)


def test_another_network_is_refused():
    with pytest.raises(
        InputError, match=r"^no network 'lenet5_modem'\. Did you mean 'lenet5_modern'\? One of lenet5_c"
    ):
        training.time_training("lenet5_modem")


@pytest.mark.parametrize(("name", "rate"), [("lenet5_modern", 0.1), ("lenet5_classic", 0.003)])
def test_each_network_races_a_loop_that_learns(small_mnist, monkeypatch, name, rate):
    """By the modern network's rate the loop of the classic one would stay at chance."""
    rates = []

    def baseline(build, test, root, lr, seed, target):
        assert build().architecture == name
        rates.append(lr)
        return training.Race(seed, 20, 100.0, 0.99, True)

    monkeypatch.setattr(training, "_baseline", baseline)
    result = training.time_training(name, rounds=1, root=small_mnist)
    assert rates == [rate]
    assert result.fast[0].epochs == (2 if name == "lenet5_classic" else 1)
