"""Learning from a teacher: its logits, and the network that learns from them."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save

from lenet_zoo import create_model
from lenet_zoo.cards import Card, sha256_of
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.augment import Augmentation
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.training.distillation import TeacherLogits
from lenet_zoo.training.publish import teacher_record
from lenet_zoo.training.recipe import Recipe
from lenet_zoo.training.run import train as train_job
from lenet_zoo.training.teachers import TEACHERS, Teacher, load_teacher, penalty_in


def test_a_student_learns_its_teachers_answers_and_not_the_labels(few, tmp_path, train):
    torch.manual_seed(3)
    teacher = Teacher()
    with torch.no_grad():
        teacher.output.weight.mul_(30)  # an opinion on every picture
    recipe = Recipe(epochs=25, batch_size=32, lr=0.004, teacher="t", distill=1.0, views=2, shift=1)
    answers = TeacherLogits([teacher.eval()], few.images, recipe.augmentation, tmp_path / "answers")
    result = train(few, tmp_path / "run", recipe, teacher_logits=answers)
    told = answers.view(1).argmax(1)
    with torch.no_grad():
        said = result.model(few.images.unsqueeze(1) / 255).argmax(1)
    assert (said == told).float().mean() > 0.8
    assert (told == few.labels).float().mean() < 0.4


def test_labels_and_softened_answers_have_their_shares_of_the_loss(few, tmp_path, train):
    torch.manual_seed(3)
    teacher = Teacher().eval()
    with torch.no_grad():
        teacher.output.weight.mul_(30)
    recipe = Recipe(
        epochs=1, batch_size=300, optimizer="sgd", lr=0.1, label_smoothing=0.1, teacher="t", distill=0.7,
        temperature=3, views=1,
    )  # fmt: skip
    answers = TeacherLogits([teacher], few.images, recipe.augmentation, tmp_path / "answers")
    result = train(few, tmp_path / "run", recipe, teacher_logits=answers)
    torch.manual_seed(0)
    model = create_model("lenet5_modern").train()
    logits = model(few.images.unsqueeze(1) / 255)
    far = F.kl_div((logits / 3).log_softmax(1), (answers.view(1) / 3).softmax(1), reduction="batchmean")
    (0.3 * F.cross_entropy(logits, few.labels, label_smoothing=0.1) + 0.7 * 9 * far).backward()
    for (name, mine), p in zip(result.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, p - 0.1 * p.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_answers_are_computed_once_and_kept(few, tmp_path, rich):
    how = rich.augmentation
    first = TeacherLogits([Teacher().eval()], few.images, how, tmp_path)
    said = first.view(2)
    assert said.shape == (300, 10)
    first._compute = lambda number: pytest.fail("asked again")
    assert torch.equal(first.view(2), said)
    again = TeacherLogits(first.teachers, few.images, how, tmp_path)
    again._compute = lambda number: pytest.fail("asked again")
    assert torch.equal(again.view(2), said)
    other = TeacherLogits([Teacher().eval()], few.images, how, tmp_path)
    assert not torch.equal(other.view(2), said)
    turned = TeacherLogits(first.teachers, few.images.flip(0), how, tmp_path)
    assert not torch.equal(turned.view(2), said)
    steeper = TeacherLogits(first.teachers, few.images, replace(how, rotation=2 * how.rotation), tmp_path)
    assert not torch.equal(steeper.view(2), said)


def test_answers_that_were_damaged_are_computed_again(few, tmp_path, rich):
    first = TeacherLogits([Teacher().eval()], few.images, rich.augmentation, tmp_path)
    said = first.view(1)
    (file,) = tmp_path.rglob("*.safetensors")
    good = file.read_bytes()
    place = good.index(said.numpy().tobytes())
    flipped = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
    for damaged in (flipped, good[:-1], b""):
        file.write_bytes(damaged)
        again = TeacherLogits(first.teachers, few.images, rich.augmentation, tmp_path)
        assert torch.equal(again.view(1), said)
        assert file.read_bytes() == good
    file.write_bytes(save({"logits": said + 1}))  # as earlier versions wrote them
    again = TeacherLogits(first.teachers, few.images, rich.augmentation, tmp_path)
    assert torch.equal(again.view(1), said + 1)


def test_a_teacher_whose_weights_are_not_its_cards_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(save(Teacher().state_dict()))
    Card(sha256=sha256_of(file)).write(tmp_path / "card.json")
    load_teacher(str(file))
    good = file.read_bytes()
    file.write_bytes(good[:-10] + bytes([good[-10] ^ 1]) + good[-9:])
    with pytest.raises(WeightsError, match=r"card\.json belongs to other weights than .*model\.safetensors"):
        load_teacher(str(file))


def test_several_teachers_answer_by_the_mean_of_their_probabilities(few, tmp_path, rich):
    each = [Teacher().eval() for _ in range(3)]
    expected = sum(TeacherLogits([one], few.images, rich.augmentation, tmp_path).view(1).softmax(1) for one in each) / 3
    together = TeacherLogits(each, few.images, rich.augmentation, tmp_path)
    torch.testing.assert_close(together.view(1).exp(), expected)


def test_teachers_that_know_none_of_these_say_so_in_the_learners_own_measure(few, tmp_path):
    each = [create_model(name).eval() for name in ("lenet5_modern", "lenet5_classic")]
    js = (2.0, 90.0)

    def with_none(logits: torch.Tensor, j: float) -> torch.Tensor:
        return F.pad(logits, (0, 1), value=-j).softmax(1)

    plain = [TeacherLogits([one], few.images, Augmentation(), tmp_path).view(1) for one in each]
    expected = sum(with_none(logits, j) for logits, j in zip(plain, js, strict=True)) / 2
    together = TeacherLogits(each, few.images, Augmentation(), tmp_path, j=(10.0, js)).view(1)
    torch.testing.assert_close(with_none(together, 10.0), expected)
    alone = TeacherLogits(each[:1], few.images, Augmentation(), tmp_path, j=(10.0, js[:1])).view(1)
    torch.testing.assert_close(alone, plain[0] - 8)


def test_a_network_of_the_zoo_teaches_and_sees_pictures_as_it_knows_them(few, tmp_path):
    file = tmp_path / "model.safetensors"
    shipped = create_model("lenet5_classic.mnist", pretrained=True)
    file.write_bytes(save(shipped.state_dict()))
    said = TeacherLogits([load_teacher(str(file))], few.images, Augmentation(), tmp_path).view(1)
    torch.testing.assert_close(said.numpy(), logits_of(shipped)(few.images.numpy()), rtol=1e-4, atol=1e-4)
    assert teacher_record(file, load_teacher(str(file)))["architecture"] == "lenet5_classic"


def test_a_teacher_that_never_saw_what_is_no_digit_is_refused(small_mnist, tmp_path):
    common = dict(dataset="mnist", data_root=small_mnist, device="cpu")
    train_job("lenet5_modern", recipe="baseline", changes=dict(epochs=1), out=tmp_path / "plain", **common)
    file = tmp_path / "plain" / "model.safetensors"
    changes = dict(epochs=1, teacher=str(file), distill=0.5, views=1)
    with pytest.raises(InputError) as refusal:
        train_job("lenet5_modern", recipe="handwriting", changes=changes, out=tmp_path / "out", **common)
    says = "was trained without no_digits, by the card beside it: it has no answer for pictures that are no digit"
    assert str(refusal.value) == f"the teacher {file} {says}"
    (tmp_path / "plain" / "card.json").unlink()
    with pytest.raises(
        InputError, match=r"no card lies beside the teacher .*model\.safetensors, to say whether it saw"
    ):
        train_job("lenet5_modern", recipe="handwriting", changes=changes, out=tmp_path / "out", **common)
    train_job("lenet5_modern", recipe="handwriting", changes=dict(epochs=1), out=tmp_path / "knows", **common)
    changes["teacher"] = str(tmp_path / "knows" / "model.safetensors")
    card = train_job("lenet5_classic", recipe="handwriting", changes=changes, out=tmp_path / "out", **common)
    assert card["recipe"]["teacher"]["architecture"] == "lenet5_modern"


@pytest.mark.parametrize("j", [None, "x", True])
def test_a_teachers_card_without_its_penalty_is_damaged(tmp_path, j):
    card = tmp_path / "card.json"
    recipe = {"no_digits": 0.5} | ({} if j is None else {"j": j})
    card.write_text(json.dumps(dict(recipe=recipe)))
    with pytest.raises(WeightsError) as refusal:
        penalty_in(str(tmp_path / "model.safetensors"))
    assert str(refusal.value) == (
        f"the card {card} is damaged: its recipe has no_digits and j={j!r}, which must be a number"
    )


def test_layer_decay_is_refused_for_a_teacher(few, tmp_path, train):
    with pytest.raises(InputError, match=r"^layer_decay=0\.5 is for lenet5_modern and lenet5_classic: a teacher's"):
        train(few, tmp_path, Recipe(epochs=1, layer_decay=0.5), Teacher)


@pytest.mark.parametrize("teacher", list(TEACHERS.values()))
def test_dropout_reaches_a_teacher(few, tmp_path, teacher, train):
    plain, dropped = (
        train(few, tmp_path / str(rate), Recipe(epochs=1, drop_rate=rate), teacher).history for rate in (0, 0.5)
    )
    assert plain[0]["loss"] != dropped[0]["loss"]


def test_a_recipe_that_learns_from_a_teacher_needs_its_answers(few, tmp_path, train):
    recipe = Recipe(epochs=1, teacher="t.safetensors", distill=0.5, views=1)
    with pytest.raises(InputError) as refusal:
        train(few, tmp_path, recipe)
    assert str(refusal.value) == (
        "the recipe learns from a teacher (distill=0.5), and here is none: set teacher= distill=0 temperature=1"
    )
