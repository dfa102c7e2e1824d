"""The engine: what a run by mini-batches ends in."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from lenet_zoo import create_model
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.datasets.no_digits import no_digits, with_made_pictures
from lenet_zoo.errors import InputError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.online import fit_online
from lenet_zoo.training.recipe import Recipe, Recipe1998

modern = partial(create_model, "lenet5_modern")


def test_it_learns(digits, tmp_path, train):
    training = Dataset("digits", digits.images[:1500], digits.labels[:1500], digits.classes)
    rest = Dataset("digits", digits.images[1500:], digits.labels[1500:], digits.classes)
    recipe = Recipe(epochs=8, batch_size=32, lr=0.003, schedule="cosine", warmup=0.1, shift=1, ema=0.98)
    result = train(training, tmp_path, recipe, measured={"validation": rest})
    assert result.history[-1]["validation_accuracy"] > 0.88
    assert result.history[-1]["accuracy"] > 0.95
    assert [record["epoch"] for record in result.history] == list(range(1, 9))
    assert not result.model.training


def test_the_result_is_a_plain_network_and_follows_the_seed(few, tmp_path, train, same):
    results = [train(few, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert repr(results[0].model) == repr(modern())
    assert same(results[0].model, results[1].model)
    assert not same(results[0].model, results[2].model)


def test_a_normalised_run_ends_in_the_plain_network_that_was_measured(few, tmp_path, train):
    recipe = Recipe(epochs=2, batch_size=50, lr=0.003, batch_norm=True, ema=0.9)
    result = train(few, tmp_path / "a", recipe, measured={"validation": few})
    assert list(result.model.state_dict()) == list(modern().state_dict())
    found = evaluate(logits_of(result.model), few)
    assert found.accuracy == result.history[-1]["validation_accuracy"]
    assert found.loss == pytest.approx(result.history[-1]["validation_loss"], rel=1e-5)


@pytest.mark.parametrize("size", [1, 23])
def test_normalising_needs_two_pictures_in_every_batch(few, tmp_path, size, train):
    with pytest.raises(InputError) as refusal:
        train(few, tmp_path, Recipe(batch_size=size, batch_norm=True))
    assert str(refusal.value) == (
        f"batch_norm=true needs two pictures in every batch: of 300 pictures in batches of {size} one is left over; "
        "take another batch_size"
    )


def test_a_run_leaves_the_global_generator_alone(few, tmp_path, train):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(few, tmp_path, Recipe(epochs=1, drop_rate=0.5))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_by_the_method_of_1998_leaves_the_global_generator_alone(few, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    recipe = Recipe1998(passes=1, curvature_patterns=100)
    fit_online(partial(create_model, "lenet5_classic"), few, recipe, RunFolder(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


def test_baseline_step_is_plain_gradient_descent(few, tmp_path, train):
    recipe = Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=0.1)
    result = train(few, tmp_path, recipe)
    torch.manual_seed(0)
    model = modern().train()
    F.cross_entropy(model(few.images.unsqueeze(1) / 255), few.labels).backward()
    for (name, mine), p in zip(result.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, p - 0.1 * p.grad, msg=name)


def test_the_averaged_weights_are_the_average(few, tmp_path, train):
    fields = dict(batch_size=300, optimizer="sgd", lr=0.1)
    first = train(few, tmp_path / "1", Recipe(epochs=1, **fields)).model
    second = train(few, tmp_path / "2", Recipe(epochs=2, **fields)).model
    averaged = train(few, tmp_path / "e", Recipe(epochs=2, ema=0.9, **fields)).model
    torch.manual_seed(0)
    start = modern()
    for p0, p1, p2, p in zip(*(m.parameters() for m in (start, first, second, averaged)), strict=True):
        # decays of a young average: 1/10 and 2/11
        expected = torch.lerp(torch.lerp(p0, p1, 9 / 10), p2, 9 / 11)
        torch.testing.assert_close(p, expected)


def test_balanced_class_weights_count_every_class_alike(few, tmp_path, train):
    labels = torch.where(torch.arange(300) < 270, 0, 1)
    uneven = Dataset("digits", few.images, labels, few.classes[:2])
    recipe = Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=0.1, class_weights="balanced")
    result = train(uneven, tmp_path, recipe, partial(modern, num_classes=2))
    torch.manual_seed(0)
    model = modern(num_classes=2).train()
    each = F.cross_entropy(model(few.images.unsqueeze(1) / 255), labels, reduction="none")
    ((each[:270].mean() + each[270:].mean()) / 2).backward()
    torch.testing.assert_close(result.model.C1.weight, model.C1.weight - 0.1 * model.C1.weight.grad)


def test_clipping_limits_the_update(few, tmp_path, train):
    recipe = Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=1.0, clip_norm=1e-3)
    result = train(few, tmp_path, recipe)
    torch.manual_seed(0)
    moved = [a - b for a, b in zip(result.model.parameters(), modern().parameters(), strict=True)]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_what_is_no_digit_falls_below_the_logit_of_none_of_these(digits, tmp_path, train):
    recipe = Recipe(epochs=8, batch_size=32, lr=0.003, schedule="cosine", warmup=0.1, no_digits=0.5, j=2, ema=0.98)
    first = Dataset("digits", digits.images[:1200], digits.labels[:1200], digits.classes)
    result = train(with_made_pictures(first, recipe.no_digits, 0), tmp_path, recipe)
    logits = logits_of(result.model)
    assert logits(digits.images[1200:].numpy()).shape == (597, 10)
    unseen = no_digits(digits.images[1200:].numpy(), digits.labels[1200:].numpy(), 300, seed=1)
    known, others = (logits(x).max(1) >= -recipe.j for x in (digits.images[1200:].numpy(), unseen))
    assert known.mean() > 0.9
    assert others.mean() < 0.4


def test_none_of_these_is_learnt_with_the_logit_minus_j(few, tmp_path, train):
    labels = torch.where(torch.arange(300) < 50, 10, few.labels)
    recipe = Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=0.1, no_digits=0.5, j=2)
    result = train(Dataset("digits", few.images, labels, few.classes), tmp_path, recipe)
    torch.manual_seed(0)
    model = modern().train()
    F.cross_entropy(F.pad(model(few.images.unsqueeze(1) / 255), (0, 1), value=-2.0), labels).backward()
    torch.testing.assert_close(result.model.C1.weight, model.C1.weight - 0.1 * model.C1.weight.grad)


def test_none_of_these_needs_pictures_of_it(few, tmp_path, train):
    with pytest.raises(
        InputError, match=r"^no_digits: only `lenet-zoo train` makes such pictures; set no_digits=0 j=0$"
    ):
        train(few, tmp_path, Recipe(no_digits=0.1))
