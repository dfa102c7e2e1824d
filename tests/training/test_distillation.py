"""Learning from a teacher: its logits, and the network that learns from them."""

import pytest
import torch
from safetensors.torch import save

from lenet_zoo.cards import Card, sha256_of
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.training.distillation import EnsembleLogits, TeacherLogits
from lenet_zoo.training.recipe import Recipe
from lenet_zoo.training.teachers import TEACHERS, Teacher, load_teacher


def test_a_student_learns_its_teachers_answers_and_not_the_labels(few, tmp_path, train):
    torch.manual_seed(3)
    teacher = Teacher()
    with torch.no_grad():
        teacher.output.weight.mul_(30)  # an opinion on every picture
    recipe = Recipe(epochs=25, batch_size=32, lr=0.004, teacher="t", distill=1.0, views=2, shift=1)
    answers = TeacherLogits(teacher.eval(), few.images, recipe.augmentation, tmp_path / "answers")
    result = train(few, tmp_path / "run", recipe, teacher_logits=answers)
    told = answers.view(1).argmax(1)
    with torch.no_grad():
        said = result.model(few.images.unsqueeze(1) / 255).argmax(1)
    assert (said == told).float().mean() > 0.8
    assert (told == few.labels).float().mean() < 0.4


def test_answers_are_computed_once_and_kept(few, tmp_path, rich):
    how = rich.augmentation
    first = TeacherLogits(Teacher().eval(), few.images, how, tmp_path)
    said = first.view(2)
    assert said.shape == (300, 10)
    first._compute = lambda number: pytest.fail("asked again")
    assert torch.equal(first.view(2), said)
    again = TeacherLogits(first.teacher, few.images, how, tmp_path)
    again._compute = lambda number: pytest.fail("asked again")
    assert torch.equal(again.view(2), said)
    other = TeacherLogits(Teacher().eval(), few.images, how, tmp_path)
    assert not torch.equal(other.view(2), said)


def test_answers_that_were_damaged_are_computed_again(few, tmp_path, rich):
    first = TeacherLogits(Teacher().eval(), few.images, rich.augmentation, tmp_path)
    said = first.view(1)
    (file,) = tmp_path.rglob("*.safetensors")
    good = file.read_bytes()
    place = good.index(said.numpy().tobytes())
    flipped = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
    for damaged in (flipped, good[:-1], b""):
        file.write_bytes(damaged)
        again = TeacherLogits(first.teacher, few.images, rich.augmentation, tmp_path)
        assert torch.equal(again.view(1), said)
        assert file.read_bytes() == good
    file.write_bytes(save({"logits": said + 1}))  # as earlier versions wrote them
    again = TeacherLogits(first.teacher, few.images, rich.augmentation, tmp_path)
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
    each = [TeacherLogits(Teacher().eval(), few.images, rich.augmentation, tmp_path) for _ in range(3)]
    expected = sum(answers.view(1).softmax(1) for answers in each) / 3
    torch.testing.assert_close(EnsembleLogits(each).view(1).exp(), expected)


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
