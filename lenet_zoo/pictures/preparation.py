"""What a user's picture goes through on its way to a network."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lenet_zoo.pictures.character import digit_from_image
from lenet_zoo.pictures.grey import to_grey
from lenet_zoo.pictures.kernels import Bytes
from lenet_zoo.pictures.reading import PictureSource, load_picture

__all__ = ["picture_from_image", "prepared"]


def prepared(image: PictureSource, preparation: str, channels: int = 1, size: int = 28) -> Bytes:
    """A picture as a network wants it that was trained on pictures of this `preparation` (see `Dataset`).

    Args:
        image: whatever `load_picture` takes.
        preparation: 'character': `digit_from_image`; 'picture': `picture_from_image`.
        channels: of the network; 'picture' is in colour for 3, and else grey.
        size: side of the result in pixels.

    Returns: uint8 size×size, or 3×size×size in colour.

    Raises: InputError when the picture cannot be read; NoDigitError, which is one, for one without a character.
    """
    if preparation == "character":
        return digit_from_image(image, size)
    return picture_from_image(image, 3 if channels == 3 else 1, size)


def picture_from_image(image: PictureSource, channels: int = 1, size: int = 28) -> Bytes:
    """A picture as it is, scaled to size×size whatever its aspect: the pixels that `create_transform` takes.

    Args:
        image: whatever `load_picture` takes. What is transparent is laid over white.
        channels: 1 for grey, 3 for colour.
        size: side of the result in pixels.

    Returns: uint8 size×size for 1 channel, 3×size×size for 3.

    Raises: InputError when the picture cannot be read.
    """
    picture = load_picture(image)
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(to_grey(picture))
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    picture = picture.convert("L" if channels == 1 else "RGB")
    pixels: Bytes = np.array(picture.resize((size, size), Image.Resampling.BILINEAR))  # torch wants it writable
    return pixels if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
