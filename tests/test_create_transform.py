"""create_transform: the preprocessing of a network, for pictures in every form."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lenet_zoo
from lenet_zoo.errors import InputError
from lenet_zoo.pictures.preparation import Preparation


@pytest.mark.parametrize(("name", "low", "high"), [("lenet5_classic", -0.1, 1.175), ("lenet5_modern", 0.0, 1.0)])
def test_create_transform_of_a_name_and_of_a_network(name: str, low: float, high: float) -> None:
    picture = Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 4))
    x = lenet_zoo.create_transform(name)(picture)
    assert (x.dtype, tuple(x.shape)) == (torch.float32, (1, 28, 28))
    assert (x.min().item(), x.max().item()) == pytest.approx((low, high), abs=1e-6)
    assert torch.equal(lenet_zoo.create_transform(f"{name}.mnist")(picture), x)
    assert torch.equal(lenet_zoo.create_transform(lenet_zoo.create_model(name))(picture), x)
    colour = lenet_zoo.create_transform(lenet_zoo.create_model(name, in_chans=3))(picture.convert("RGB"))
    assert torch.equal(colour, x.expand(3, -1, -1))
    assert lenet_zoo.create_transform(name)(picture.resize((90, 50))).shape == (1, 28, 28)


def test_create_transform_leaves_the_pixels_of_a_digit_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    x = lenet_zoo.create_transform("lenet5_modern")(Image.fromarray(pixels))
    assert torch.equal(x[0], torch.from_numpy(pixels) / 255)


def test_create_transform_gives_a_network_without_a_border_of_its_own_the_papers_32_pixels() -> None:
    model = lenet_zoo.create_model("lenet5_classic", pretrained=True, pad=0)
    x = lenet_zoo.create_transform(model)(Image.new("L", (28, 28)))
    assert x.shape == (1, 32, 32)
    assert model(x[None]).shape == (1, 10)


def test_create_transform_needs_one_or_three_channels() -> None:
    with pytest.raises(InputError, match=r"^no picture has 4 channels"):
        lenet_zoo.create_transform(lenet_zoo.create_model("lenet5_modern", in_chans=4))


@pytest.mark.parametrize("channels", [1, 3])
def test_create_transform_takes_arrays_tensors_files_and_bytes(tmp_path: Path, channels: int) -> None:
    transform = lenet_zoo.create_transform(lenet_zoo.create_model("lenet5_modern", in_chans=channels))
    grey = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    for array in (grey, np.stack([grey, grey // 2, 255 - grey], axis=2)):
        image = Image.fromarray(array)
        path = tmp_path / "picture.png"
        image.save(path)
        tensor = torch.from_numpy(array)
        same = [tensor, tensor[None]] if array.ndim == 2 else [tensor.permute(2, 0, 1)]
        for picture in (array, *same, path, str(path), path.read_bytes()):
            assert torch.equal(transform(picture), transform(image))
    assert torch.equal(transform(grey[:, :, None]), transform(grey))
    pickle.loads(pickle.dumps(transform))  # a DataLoader's workers may be other processes


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (torch.rand(1, 28, 28), "a picture of float32: give a uint8 array"),
        (torch.rand(1, 28, 28).bfloat16(), "a picture of bfloat16: give a uint8 array"),
        (torch.empty(28, 28, dtype=torch.uint8, device="meta"), "a picture of no values: give a uint8 array"),
        (np.zeros((28, 28)), "a picture of float64: give a uint8 array"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "a tensor of shape (2, 1, 28, 28) is not one picture: give"),
        (np.zeros((2, 28, 28), np.uint8), "an array of shape (2, 28, 28) is not one picture: give"),
        (np.zeros((0, 28), np.uint8), "an array of shape (0, 28) is not one picture: give"),
        (3, "a int is not a picture: "),
    ],
)
def test_create_transform_says_what_it_takes(picture: object, says: str) -> None:
    with pytest.raises(InputError) as error:
        lenet_zoo.create_transform("lenet5_modern")(picture)
    assert str(error.value).startswith(says)


@pytest.mark.parametrize("channels", [1, 3])
def test_create_transform_takes_pictures_of_every_mode_and_size_as_predict_does(channels: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 28 * 28).reshape(28, 28)
    clear = np.zeros((28, 28, 4), np.uint8)
    clear[8:20, 10:18] = 200, 90, 30, 255
    clear[..., :3][clear[..., 3] == 0] = 255  # white, where nothing is to be seen
    pictures = {
        "deep.png": Image.fromarray((4000 * ramp / 255).astype(np.uint16)),
        "clear.png": Image.fromarray(clear),
        "large.png": Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 45), dtype=np.uint8)),
        "lab.tif": Image.fromarray(np.dstack([ramp, ramp * 0, ramp * 0]).astype(np.uint8), mode="LAB"),
    }
    transform = lenet_zoo.create_transform(lenet_zoo.create_model("lenet5_modern", in_chans=channels))
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        pixels = Preparation("picture", channels).pixels(tmp_path / name)
        assert len(np.unique(pixels)) > 1
        expected = torch.from_numpy(pixels.reshape(channels, 28, 28)) / 255
        assert torch.equal(transform(picture), expected)
        assert torch.equal(transform(tmp_path / name), expected)


def test_create_transform_of_a_network_in_a_wrapper_is_the_networks() -> None:
    model = lenet_zoo.create_model("lenet5_classic")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8))
    expected = lenet_zoo.create_transform(model)(picture)
    for wrapped in (torch.compile(model), torch.nn.DataParallel(model), torch.compile(torch.nn.DataParallel(model))):
        assert torch.equal(lenet_zoo.create_transform(wrapped)(picture), expected)


def test_create_transform_refuses_a_module_that_does_not_say_what_it_takes() -> None:
    plain = lenet_zoo.create_model("lenet5_modern").plain()
    with pytest.raises(InputError, match=r"^a Sequential has no pretrained_cfg, which says how its pictures are made"):
        lenet_zoo.create_transform(plain)


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_create_transform_of_premultiplied_transparency(mode: str) -> None:
    plain = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28, 4), dtype=np.uint8), "RGBA")
    picture = plain.convert("LA").convert(mode) if mode == "La" else plain.convert(mode)
    assert lenet_zoo.create_transform("lenet5_modern")(picture).shape == (1, 28, 28)
