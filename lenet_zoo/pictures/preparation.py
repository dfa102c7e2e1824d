"""What a picture goes through on its way to a network: one object that data sets, cards and classifiers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenet_zoo.errors import InputError

if TYPE_CHECKING:
    from lenet_zoo.pictures.kernels import Bytes
    from lenet_zoo.pictures.reading import PictureSource

# numpy and pillow are imported when a picture is prepared, so that a card can be read without them.

__all__ = ["KINDS", "LINE", "Preparation"]

KINDS = ("character", "picture")
LINE = "line"


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the pixels that a network was trained on.

    Attributes:
        kind: 'character': the character is found and placed as MNIST has it (`lenet_zoo.digit_from_image`), always in
            grey; 'picture': the picture is taken as it is, scaled to size×size whatever its aspect; 'line': a line of
            characters is brought to a strip `size` px high (`pictures.line`), always in grey.
        channels: of the pixels: 1 (grey), or 3 (colour, for 'picture' alone).
        size: height and width of the pixels.

    Raises: InputError for another kind or number of channels, and for a character in colour.
    """

    kind: str = "character"
    channels: int = 1
    size: int = 28

    def __post_init__(self) -> None:
        if self.kind not in (*KINDS, LINE):
            raise InputError(f"prepare={self.kind!r}: one of {' and '.join(map(repr, KINDS))}")
        if self.channels not in (1, 3):
            raise InputError(f"in_chans={self.channels}: pictures have 1 channel (grey) or 3 (colour)")
        if self.kind != "picture" and self.channels == 3:
            raise InputError(
                "characters are brought to MNIST's form, which is grey: take in_chans=1, or pictures as they are"
            )

    @property
    def backdrop(self) -> int | None:
        """The grey that shows through transparent parts of a picture: 0, the networks' background, for 'picture'.

        None for characters, where it is chosen to contrast with the ink (`pictures.grey`, step G1).
        """
        return 0 if self.kind == "picture" else None

    def fitted(self, channels: int, size: int) -> Preparation:
        """The same kind for a network of so many channels and that size: colour only where both have it."""
        return Preparation(self.kind, 3 if self.kind == "picture" and channels == 3 else 1, size)

    def pixels(self, image: PictureSource) -> Bytes:
        """A picture as pixels, 0 background and 255 ink.

        Args:
            image: a path, the bytes of a file, an open binary file or a PIL image.

        Returns: uint8 size×size, or 3×size×size in colour.

        Raises: InputError when the picture cannot be read; NoDigitError, which is one, for one without a character.
        """
        return self.found(image)[0]

    def found(self, image: PictureSource) -> tuple[Bytes, bool]:
        """`pixels`, and whether ink reaches the edge of the picture (`pictures.character.Found`).

        False for pictures that are taken as they are. Arguments and errors as of `pixels`.
        """
        if self.kind == LINE:
            raise InputError(
                "this network reads numbers, not single characters: take lenet_zoo.read or `lenet-zoo read`"
            )
        if self.kind == "character":
            from lenet_zoo.pictures.character import find_character

            return find_character(image, self.size)
        return self._as_it_is(image), False

    def _as_it_is(self, image: PictureSource) -> Bytes:
        """The picture scaled, which is what `lenet_zoo.create_transform` takes."""
        import numpy as np
        from PIL import Image

        from lenet_zoo.pictures.grey import flattened
        from lenet_zoo.pictures.reading import load_picture

        picture = flattened(load_picture(image), "L" if self.channels == 1 else "RGB", self.backdrop or 0)
        scaled = picture.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels: Bytes = np.array(scaled)  # a copy: torch wants it writable
        return pixels if self.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
