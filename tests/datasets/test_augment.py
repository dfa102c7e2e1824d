"""Augmentation: every distortion does what its name says, within its bounds, and depends on nothing but its draw."""

import math
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lenet_zoo.datasets.augment import Augmentation, Draws, augment, draw
from lenet_zoo.errors import InputError

EVERYTHING = Augmentation(
    rotation=10, scale=0.2, aspect=0.1, slant=0.2, shift=2, elastic=0.7, thickness=0.5, flip=0.5, erase=0.5, tilt=0.3,
    neighbours=0.5, marks=0.7, gentle=0.3,
)  # fmt: skip


def noise(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def bars(count: int) -> Tensor:
    """Upright bars of 4×14 pixels, centred."""
    pictures = torch.zeros(count, 28, 28, dtype=torch.uint8)
    pictures[:, 7:21, 12:16] = 255
    return pictures


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centre in x and y, and the second moments xx, yy, xy of N×1×28×28 pictures, in pixels."""
    place = torch.arange(28.0) - 13.5
    mass = x.sum((1, 2, 3))

    def mean(what: Tensor) -> Tensor:
        return (x[:, 0] * what).sum((1, 2)) / mass

    across, down = place.expand(28, 28), place[:, None].expand(28, 28)
    cx, cy = mean(across), mean(down)
    return cx, cy, mean(across**2) - cx**2, mean(down**2) - cy**2, mean(across * down) - cx * cy


def test_nothing_asked_for_changes_nothing():
    pictures = noise(5)
    result = augment(pictures, draw(Augmentation(), 5, seed=0, epoch=1))
    assert result.dtype == torch.float32
    assert torch.equal(result, pictures.unsqueeze(1) / 255)


def test_a_picture_does_not_depend_on_its_batch():
    pictures = noise(40)
    draws = draw(EVERYTHING, 40, seed=3, epoch=2)
    whole = augment(pictures, draws, pictures)
    some = torch.tensor([7, 39, 0])
    torch.testing.assert_close(augment(pictures[some], draws[some], pictures), whole[some], rtol=0, atol=1e-6)


def test_draws_follow_seed_and_epoch():
    first = draw(EVERYTHING, 10, seed=0, epoch=1)
    again = draw(EVERYTHING, 10, seed=0, epoch=1)
    for part in fields(Draws):
        assert torch.equal(getattr(first, part.name), getattr(again, part.name))
        for other in (draw(EVERYTHING, 10, seed=0, epoch=2), draw(EVERYTHING, 10, seed=1, epoch=1)):
            assert not torch.equal(getattr(first, part.name), getattr(other, part.name))


def test_shift_stays_within_its_bound_and_uses_it():
    x, y, *_ = moments(augment(bars(500), draw(Augmentation(shift=3), 500, seed=0, epoch=1)))
    for centre in (x, y):
        assert 2.8 < centre.abs().max() <= 3.001
        assert centre.mean().abs() < 0.3


def test_a_shift_by_whole_pixels_moves_them_exactly():
    pictures = noise(1)
    theta = torch.tensor([[[1.0, 0.0, 2 * 2 / 28], [0.0, 1.0, -3 * 2 / 28]]])
    result = augment(pictures, Draws(theta, None, None, None))[0, 0]
    torch.testing.assert_close(result[3:, :26], pictures[0, :-3, 2:] / 255, rtol=0, atol=1e-4)
    assert result[:3].abs().max() < 1e-4
    assert result[:, 26:].abs().max() < 1e-4


def test_rotation_turns_by_up_to_its_angle():
    cx, cy, xx, yy, xy = moments(augment(bars(500), draw(Augmentation(rotation=20), 500, seed=0, epoch=1)))
    angle = torch.rad2deg(0.5 * torch.atan2(-2 * xy, yy - xx))
    assert 18.5 < angle.max() < 20.5
    assert -20.5 < angle.min() < -18.5
    assert cx.abs().max() < 0.05
    assert cy.abs().max() < 0.05


def test_scale_changes_both_sides_alike_and_aspect_one_against_the_other():
    source = moments(augment(bars(1), Draws(None, None, None, None)))
    for how, low, high in ((Augmentation(scale=0.25), 0.8, 1.25), (Augmentation(aspect=0.25), 0.8, 1.25)):
        _, _, xx, yy, _ = moments(augment(bars(500), draw(how, 500, seed=0, epoch=1)))
        width, height = (xx / source[2]).sqrt(), (yy / source[3]).sqrt()
        assert low - 0.03 < height.min() < low + 0.03
        assert high - 0.03 < height.max() < high + 0.03
        # The bar is 4 pixels wide, so that the resampling blurs its width a little.
        expected = height if how.scale else 1 / height
        assert (width / expected - 1).abs().max() < 0.15


def test_slant_shears_rows_and_keeps_their_height():
    _, _, _, yy, xy = moments(augment(bars(500), draw(Augmentation(slant=0.3), 500, seed=0, epoch=1)))
    tangent = xy / yy
    assert 0.27 < tangent.max() < 0.31
    assert -0.31 < tangent.min() < -0.27
    assert (yy / yy.mean() - 1).abs().max() < 0.02


def test_flip_mirrors():
    pictures = noise(4)
    result = augment(pictures, draw(Augmentation(flip=1), 4, seed=0, epoch=1))
    torch.testing.assert_close(result, pictures.flip(2).unsqueeze(1) / 255, rtol=0, atol=1e-4)


def test_elastic_displaces_smoothly_by_its_deviation():
    draws = draw(Augmentation(elastic=1.5), 2000, seed=0, epoch=1)
    assert draws.knots is not None
    assert draws.knots.std().item() * 14 == pytest.approx(1.5, rel=0.02)
    # A ramp shows the displacement itself: brightness is x.
    ramp = torch.linspace(0, 1, 28).expand(20, 28, 28)
    moved = augment(ramp, draws[torch.arange(20)])[:, 0, 8:20, 8:20] * 27
    still = torch.arange(8.0, 20.0)
    shift = moved - still
    assert 0.5 < shift.std() < 1.6
    assert shift.diff(dim=2).abs().max() < 1.2


def test_thickness_is_dilation_and_erosion():
    pictures = noise(3)
    x = pictures.unsqueeze(1) / 255
    result = augment(pictures, Draws(None, None, torch.tensor([1.0, -1.0, 0.0]), None))
    torch.testing.assert_close(result[0], F.max_pool2d(x, 3, 1, 1)[0])
    torch.testing.assert_close(result[1], -F.max_pool2d(-x, 3, 1, 1)[1])
    torch.testing.assert_close(result[2], x[2])


def test_erase_blanks_one_rectangle_of_the_asked_size_as_often_as_asked():
    pictures = torch.full((1000, 28, 28), 255, dtype=torch.uint8)
    result = augment(pictures, draw(Augmentation(erase=0.25, erase_size=6), 1000, seed=0, epoch=1))[:, 0]
    hit = (result == 0).any(2).any(1)
    assert 0.2 < hit.float().mean() < 0.3
    rows, columns = (result == 0).any(2).sum(1), (result == 0).any(1).sum(1)
    assert int(rows.max()) == int(columns.max()) == 6
    assert torch.equal((result == 0).sum((1, 2)), rows * columns)
    assert set(result.unique().tolist()) == {0.0, 1.0}


def test_tilt_widens_one_side_by_up_to_its_part():
    draws = draw(Augmentation(tilt=0.4), 500, seed=0, epoch=1)
    assert draws.tilt is not None
    assert 0.19 < draws.tilt.abs().max() <= 0.2
    disc = torch.zeros(1, 28, 28)
    disc[:, 4:24, 12:16] = 1
    result = augment(disc, Draws(torch.eye(2, 3)[None], None, None, None, tilt=torch.tensor([[0.0, 0.4]])))[0, 0]
    assert result[8].sum() < 3.8  # below the middle larger, above it smaller
    assert result[20].sum() > 4.3


def test_neighbours_reach_in_from_the_side_where_they_stand():
    pictures = torch.zeros(3, 28, 28, dtype=torch.uint8)
    pictures[1, 10:20, 4:24], pictures[2, 10:20, 4:24] = 100, 200
    # Picture 0 has picture 1 at its left, by 3 columns, and picture 2 at its right, by 5; the others have none.
    neighbours = torch.tensor([[[1, 3], [2, 5]], [[-1, 3], [-1, 3]], [[-1, 3], [-1, 3]]])
    result = augment(pictures, Draws(None, None, None, None, neighbours=neighbours), pictures)[:, 0]
    wanted = torch.zeros(28, 28)
    wanted[10:20, :3], wanted[10:20, 23:] = 100 / 255, 200 / 255
    assert torch.equal(result[0], wanted)
    assert torch.equal(result[1:], pictures[1:] / 255)


def test_neighbours_are_there_as_often_as_asked():
    draws = draw(Augmentation(neighbours=0.25), 4000, seed=0, epoch=1)
    assert draws.neighbours is not None
    which, reach = draws.neighbours.unbind(2)
    assert (which >= 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (int(which.max()), int(which.min())) == (pytest.approx(4000, abs=10), -1)
    assert (int(reach.min()), int(reach.max())) == (3, 9)


def test_a_mark_is_a_thick_line():
    rule = torch.tensor([[[-5.0, 10.5, 40.0, 10.5, 1.0, 0.5], [0.0] * 6]])
    dot = torch.tensor([[[20.5, 5.5, 20.5, 5.5, 0.5, 1.0], [0.0] * 6]])
    draws = Draws(None, None, None, None, marks=torch.cat([rule, dot]))
    blank = torch.zeros(2, 28, 28)
    result = augment(blank, draws)[:, 0]
    assert not blank.any()  # the caller's pictures stay as they are
    wanted = torch.zeros(28, 28)
    wanted[9:12] = torch.tensor([0.25, 0.5, 0.25])[:, None]
    torch.testing.assert_close(result[0], wanted)
    assert result[1, 5, 20] == 1
    assert result[1].sum() == 1


def test_marks_are_there_as_often_as_asked():
    result = augment(torch.zeros(2000, 28, 28), draw(Augmentation(marks=0.4), 2000, seed=0, epoch=1))
    # With either mark: 1 − 0.6 · 0.8; some lie outside.
    assert 0.4 < (result.amax((1, 2, 3)) > 0).float().mean() < 0.52
    assert result.max() <= 1


def test_gentle_pictures_go_two_fifths_as_far_with_nothing_around_them():
    far = Augmentation(rotation=20, shift=3, thickness=1, tilt=0.3, neighbours=1, marks=1)
    mixed, gentle, rough = (draw(replace(far, gentle=part), 1000, seed=0, epoch=1) for part in (0.3, 1, 0))
    for drawn, reach in ((gentle, 0.4), (rough, 1)):
        turned = torch.rad2deg(torch.atan2(drawn.theta[:, 0, 1], drawn.theta[:, 0, 0])).abs()
        assert 19 * reach < turned.max() <= 20 * reach + 1e-3
        assert 2.9 * reach < drawn.theta[:, :, 2].abs().max() * 14 <= 3 * reach + 1e-3
        assert 0.99 * reach < drawn.weight.abs().max() <= reach
        assert 0.14 * reach < drawn.tilt.abs().max() <= 0.15 * reach
    alone = (mixed.neighbours[:, :, 0] == -1).all(1)
    assert 0.25 < alone.float().mean() < 0.35
    assert mixed.marks[alone, :, 5].max() == 0
    assert mixed.marks[~alone, 0, 5].min() > 0
    assert mixed.weight[alone].abs().max() <= 0.4 < 0.99 < mixed.weight[~alone].abs().max()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (dict(rotation=-1), "rotation=-1: an amount of distortion is 0 or more"),
        (dict(flip=1.5), "flip=1.5: at most 1"),
        (dict(marks=1.5), "marks=1.5: at most 1"),
        (dict(gentle=1.5), "gentle=1.5: at most 1"),
        (dict(tilt=1), "tilt=1: at most 0.9"),
        (dict(elastic_knots=2), "elastic_knots=2: 3 to 14"),
        (dict(erase_size=0), "erase_size=0: at least 1 pixel"),
        (dict(shift=math.nan), "shift=nan: an amount of distortion is 0 or more"),
    ],
)
def test_amounts_out_of_range_are_refused_by_name(wrong, text):
    with pytest.raises(InputError, match=f"^{text}$"):
        Augmentation(**wrong)
