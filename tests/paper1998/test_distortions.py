"""The enlarged training set: what is drawn, what it does to a picture, and what a run sees of it."""

import pytest
import torch

from lenet_zoo.models.lenet5_classic import LeNet5Classic
from lenet_zoo.paper1998.distortions import Distortions
from lenet_zoo.paper1998.online import OnlineTraining, initialize


def fresh() -> LeNet5Classic:
    model = LeNet5Classic()
    initialize(model, 0)
    return model


def test_with_distortions_twenty_passes_show_every_picture_of_the_enlarged_set_twice(blobs):
    run = OnlineTraining(fresh(), *blobs, distortions=Distortions())
    seen = torch.zeros(6000, dtype=torch.int64)
    for number in range(20):
        run.passes = number
        seen += torch.bincount(run._presented(0, 600), minlength=6000)
    assert seen.tolist() == [2] * 6000


def test_originals_stay_and_a_distortion_depends_on_seed_and_index_alone(blobs):
    images, labels = blobs
    run = OnlineTraining(fresh(), images, labels, seed=1, distortions=Distortions())
    index = torch.tensor([7, 607, 1207, 599, 5999])
    pictures, found = run._patterns(index)
    assert found.tolist() == labels[[7, 7, 7, 599, 599]].tolist()
    torch.testing.assert_close(pictures[0, 0], images[7] / 255 * 1.275 - 0.1)
    assert len({pictures[i].numpy().tobytes() for i in range(5)}) == 5
    for i in range(5):
        assert torch.equal(run._patterns(index[i : i + 1])[0][0], pictures[i])
    other = OnlineTraining(fresh(), images, labels, seed=2, distortions=Distortions())
    assert not torch.equal(other._patterns(index)[0][1], pictures[1])


def moments(image: torch.Tensor) -> tuple[float, ...]:
    """Centre, mean square sizes and covariance of the ink."""
    image = image.double()
    mass = image.sum()
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    cx, cy = float((image * x).sum() / mass), float((image * y).sum() / mass)
    dx, dy = x - cx, y - cy
    return cx, cy, *(float((image * v).sum() / mass) for v in (dx * dx, dy * dy, dx * dy))


def test_draws_mean_what_they_say():
    """A round blob, moved by each draw alone, at its limit: shift in pixels, scale, aspect and slant in its moments."""
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    blob = torch.exp(-((x - 13.5) ** 2 + (y - 13.5) ** 2) / (2 * 3.0**2))
    distortions = Distortions()
    cx, cy, xx, yy, _ = moments(distortions.apply(blob[None], centred(distortions))[0])
    assert (cx, cy) == pytest.approx((13.5, 13.5), abs=0.02)

    def at(position, value):
        draw = centred(distortions)
        draw[0, position] = value
        return moments(distortions.apply(blob[None], draw)[0])

    assert at(0, 1.0)[:2] == pytest.approx((15.5, 13.5), abs=0.05)
    assert at(1, -1.0)[:2] == pytest.approx((13.5, 11.5), abs=0.05)
    big = at(2, 1.0)
    assert (big[2] / xx, big[3] / yy) == pytest.approx((1.36**2, 1.36**2), rel=0.03)
    small = at(2, -1.0)
    assert (small[2] / xx, small[3] / yy) == pytest.approx((0.73**2, 0.73**2), rel=0.03)
    wide = at(3, 1.0)
    assert (wide[2] / xx, wide[3] / yy) == pytest.approx((1.22, 1 / 1.22), rel=0.03)
    slanted = at(4, 1.0)
    assert slanted[4] / slanted[3] == pytest.approx(0.19, rel=0.03)


def centred(distortions: Distortions) -> torch.Tensor:
    """The draw that leaves a picture as it is."""
    draw = torch.zeros(1, 5)
    for position, (low, high) in ((2, distortions.scale), (3, distortions.aspect)):
        low, high = torch.tensor([low, high]).log().tolist()
        draw[0, position] = -(low + high) / (high - low)
    return draw


def test_draws_stay_within_what_was_measured():
    draws = Distortions().draw(0, 20_000)
    assert draws.shape == (20_000, 5)
    assert float(draws.abs().max()) <= 1
    assert draws.mean(0).abs().max() < 0.02
    slants = 0.19 * draws[:, 4]
    assert float(slants.std()) == pytest.approx(0.08, abs=0.005)  # measured on Fig. 7
    assert torch.equal(Distortions().draw(0, 20_000), draws)
    assert not torch.equal(Distortions().draw(1, 20_000), draws)
