"""Made-up pictures that the tests of this folder share."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image, ImageDraw

from lenet_zoo.pictures.character import digit_from_image


def seven(side: int = 200, pen: int = 18, ink: int = 0, paper: int = 255) -> Image.Image:
    """A 7: no symmetry, so that a turned or mirrored result shows."""
    image = Image.new("L", (side, side), paper)
    points = [(0.28 * side, 0.2 * side), (0.7 * side, 0.22 * side), (0.42 * side, 0.82 * side)]
    ImageDraw.Draw(image).line(points, fill=ink, width=pen, joint="curve")
    return image


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two digits: 1 when they are the same up to brightness."""
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its data do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


SEVEN = digit_from_image(seven())
