"""Recipes are data: every shipped one loads for every network, and what is wrong is refused by its name."""

import os
from dataclasses import fields
from functools import partial

import pytest

from lenet_zoo import create_model
from lenet_zoo.errors import InputError
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import fit
from lenet_zoo.training.processes import ALONE
from lenet_zoo.training.recipe import Recipe, Recipe1998, RecipeLines, load_recipe, recipe_names

NETWORKS = [(a, d) for a in ("lenet5_modern", "lenet5_classic") for d in ("mnist", "fashion_mnist", "kmnist")]


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize(("architecture", "dataset"), NETWORKS)
def test_every_shipped_recipe_loads_and_says_what_it_is_for(name, architecture, dataset):
    assert load_recipe(name, architecture=architecture, dataset=dataset).description


def test_baseline_is_the_textbook_recipe():
    recipe = load_recipe("baseline", architecture="lenet5_modern", dataset="mnist")
    told = dict(epochs=20, batch_size=1024, optimizer="sgd", lr=0.1, momentum=0.0, schedule="constant")
    rest = {key: value for key, value in recipe.as_dict().items() if key not in {*told, "description"}}
    plain = Recipe().as_dict()
    assert told == {key: getattr(recipe, key) for key in told}
    assert rest == {key: plain[key] for key in rest}
    assert not recipe.augmentation.moves


@pytest.mark.parametrize("architecture", ["lenet5_modern", "lenet5_classic"])
def test_baseline_trains_either_network(architecture, digits, tmp_path):
    """At the modern network's learning rate the classic one stays at chance."""
    recipe = load_recipe("baseline", architecture=architecture, changes=dict(epochs=3, batch_size=16))
    build = partial(create_model, architecture)
    result = fit(build, digits, recipe, RunFolder(tmp_path), ranks=ALONE)
    assert result.history[-1]["accuracy"] > 0.5


@pytest.mark.parametrize("kind", [Recipe, Recipe1998, RecipeLines])
def test_every_field_is_documented(kind):
    assert set(kind.documented()) == {one.name for one in fields(kind)}
    assert all(kind.documented().values())


def test_a_table_changes_fields_for_its_network_and_data_set(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        "epochs = 3\n[fashion_mnist]\nepochs = 4\nflip = 0.5\n[lenet5_classic]\nlr = 0.5\n"
        "[lenet5_classic.fashion_mnist]\nepochs = 5\n"
    )
    found = {
        (a, d): load_recipe(str(file), architecture=a, dataset=d)
        for a in ("lenet5_modern", "lenet5_classic")
        for d in ("mnist", "fashion_mnist")
    }
    assert {key: (one.epochs, one.flip, one.lr) for key, one in found.items()} == {
        ("lenet5_modern", "mnist"): (3, 0, 0.001),
        ("lenet5_modern", "fashion_mnist"): (4, 0.5, 0.001),
        ("lenet5_classic", "mnist"): (3, 0, 0.5),
        ("lenet5_classic", "fashion_mnist"): (5, 0.5, 0.5),
    }


def test_fields_are_set_from_text_in_their_own_type():
    recipe = load_recipe(
        "baseline", changes=dict(epochs="3", lr="5e-2", momentum="0.9", nesterov="true", precision="bf16")
    )
    assert (recipe.epochs, recipe.lr, recipe.nesterov, recipe.precision) == (3, 0.05, True, "bf16")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(epoch=3), "recipe baseline: a recipe has no field 'epoch'. Did you mean 'epochs'?"),
        (dict(epochs="three"), "recipe baseline: epochs='three': a whole number expected"),
        (dict(epochs="2.5"), "recipe baseline: epochs='2.5': a whole number expected"),
        (dict(epochs="inf"), "recipe baseline: epochs='inf': a whole number expected"),
        (dict(epochs=0), "recipe baseline: epochs=0: 1 or more"),
        (dict(epochs=True), "recipe baseline: epochs=True: a whole number expected"),
        (dict(lr="nan"), "recipe baseline: lr=nan: 0 or more, and a finite number"),
        (dict(nesterov="perhaps"), "recipe baseline: nesterov='perhaps': true or false expected"),
        (dict(label_smoothing=2), "recipe baseline: label_smoothing=2.0: 0 or more, 1 at most"),
        (dict(optimizer="sdg"), "recipe baseline: optimizer='sdg': one of sgd, adamw. Did you mean 'sgd'?"),
        (dict(mu=0.1), "recipe baseline: a recipe has no field 'mu'. It belongs to another method than 'gradient'."),
    ],
)
def test_wrong_fields_are_refused_by_name(changes, text):
    with pytest.raises(InputError) as refusal:
        load_recipe("baseline", changes=changes)
    assert str(refusal.value).startswith(text)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(optimizer="adamw", momentum=0.9), "momentum with adamw (it has its own): take sgd"),
        (dict(nesterov=True), "nesterov without momentum"),
        (dict(final_lr=0.1), "final_lr with a constant schedule"),
        (dict(distill=0.5), "distill without a teacher: give teacher=teacher or FILE.safetensors"),
        (dict(teacher="t.safetensors"), "a teacher with distill=0: it would have no say"),
        (dict(temperature=4), "temperature without distill"),
        (
            dict(teacher="t.safetensors", distill=0.5),
            "a teacher without views: it answers each version once, so give views=16, say",
        ),
        (
            dict(teacher="t.safetensors", distill=0.5, views=2, temperature=0),
            "temperature=0: it must be above 0",
        ),
        (dict(portion=0), "portion=0: no picture would be seen"),
        (dict(drop_rate=1), "drop_rate=1: nothing would be left"),
        (
            dict(batch_norm=True, layer_decay=0.7),
            "batch_norm with layer_decay: it is for training from scratch",
        ),
        (
            dict(no_digits=0.1, class_weights="balanced"),
            "no_digits with balanced classes: they have no frequency of their own",
        ),
        (dict(j=3), "j without no_digits: nothing would be none of these"),
        (dict(schedule="onecycle"), "onecycle without warmup: it has to rise first"),
        (dict(ema=1), "ema=1: the average would never move"),
        (dict(lr=0), "lr=0: nothing would be learnt"),
    ],
)
def test_contradictory_fields_are_refused_by_name(changes, text):
    with pytest.raises(InputError) as refusal:
        load_recipe("baseline", changes=changes)
    assert str(refusal.value) == f"recipe baseline: the recipe's fields do not go together: {text}"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("lenet5_modrn", "[lenet5_modrn] is no network and no data set. Did you mean 'lenet5_modern'?"),
        ("fashion-mnist", "[fashion-mnist] is no network and no data set. Did you mean 'fashion_mnist'?"),
        ("lenet5_modern.minst", "[lenet5_modern.minst] is no data set of a network. Did you mean 'mnist'?"),
        ("mnist.lenet5_modern", "[mnist.lenet5_modern] is no data set of a network."),
    ],
)
def test_a_table_that_would_never_apply_is_refused(tmp_path, table, text):
    file = tmp_path / "mine.toml"
    file.write_text(f"epochs = 3\n[{table}]\nepochs = 7\n")
    with pytest.raises(InputError) as refusal:
        load_recipe(str(file), architecture="lenet5_modern", dataset="mnist")
    assert str(refusal.value) == f"recipe mine.toml: {text}"


def test_the_letter_of_equation_9_alone_is_refused():
    with pytest.raises(InputError, match=r": j belongs to equation=9; with 8 set j=1$"):
        load_recipe("lecun1998", changes=dict(equation=8))
    assert load_recipe("lecun1998", changes=dict(equation=8, j=1)).equation == 8


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"^no recipe called 'basline'. Did you mean 'baseline'\? Known: "):
        load_recipe("basline")
    with pytest.raises(InputError, match=r"^no recipe called 'nowhere\.toml'"):
        load_recipe("nowhere.toml")


def test_a_file_that_is_not_toml_and_an_unknown_method_are_refused(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("epochs = ")
    with pytest.raises(InputError, match=r"mine\.toml is not TOML"):
        load_recipe(str(file))
    file.write_text('method = "magic"')
    with pytest.raises(InputError, match=r"^method='magic' in mine\.toml: one of gradient, lecun1998, lines$"):
        load_recipe(str(file))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, " is nested too deeply"),
        ("epochs = " + "1" * 5000, " is not TOML: Exceeds the limit"),
        ("[[mnist]]\nepochs = 1", ": a recipe has no field 'mnist'."),
        ("method = [1]", "method=[1] in own.toml: one of gradient, lecun1998"),
        ("lr = inf", ": lr=inf: 0 or more, and a finite number"),
        ("batch_size = 1e19", ": batch_size=10000000000000000000: 1 or more, 2147483647 at most"),
        ("epochs = 1e400", ": epochs=inf: a whole number expected"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_line(tmp_path, content, text):
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(InputError) as refusal:
        load_recipe(str(tmp_path / "own.toml"), architecture="lenet5_modern", dataset="mnist")
    assert text in str(refusal.value)


def test_a_field_may_have_the_name_of_a_network(tmp_path):
    (tmp_path / "own.toml").write_text('teacher = "t.safetensors"\ndistill = 0.5\nviews = 2')
    assert load_recipe(str(tmp_path / "own.toml"), architecture="teacher", dataset="mnist").views == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "own.toml")
    with pytest.raises(InputError, match=r"own\.toml cannot be read: it is not a regular file$"):
        load_recipe(str(tmp_path / "own.toml"))
    with pytest.raises(InputError, match=r"cannot be read: the name holds a null character$"):
        load_recipe("own\x00.toml")
