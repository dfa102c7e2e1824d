"""Files to decoded pictures: what a path stands for, and Pillow's decoders behind checks of size, format and damage."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

from PIL import Image, ImageOps, UnidentifiedImageError

from lenet_zoo.errors import InputError, to_install

__all__ = [
    "MAX_PIXELS",
    "PictureSource",
    "bands",
    "load_picture",
    "looked_into",
    "means",
    "picture_name",
    "picture_size",
    "picture_suffixes",
    "pictures_in",
    "reduced",
    "reduction",
]

MAX_PIXELS = 64_000_000
"""The largest picture that is decoded, in pixels (8,000×8,000): up to 0.6 GB of memory on the way to a digit."""

_BAND = 2_000_000  # pixels

PictureSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image

_ORIENTATION = 0x0112  # EXIF's tag
_REDUCED = ("L", "LA", "RGB", "RGBA")

# Decoders of plain raster pictures. Pillow knows more, among them EPS, which starts Ghostscript on the file.
_FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA"}
    | {"TIFF", "WEBP", "XBM"}
)
# What phones write. Such files count as pictures whether or not there is a decoder: each is then named, with what to
# install, and a folder loses none without a word.
_FROM_PHONES = frozenset({".avif", ".heic", ".heif", ".hif"})
# How files begin, by format. Of one that is damaged a decoder may say no more than that it is none of its own.
_BEGINNINGS = {
    "AVIF": rb".{4}ftypavi[fs]",
    "GIF": rb"GIF8[79]a",
    "HEIF": rb".{4}ftyp(hei[cxms]|hevc|mif1|msf1)",
    "ICO": rb"\x00\x00\x01\x00[^\x00]\x00",
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "TIFF": rb"II\*\x00|MM\x00\*",
    "WEBP": rb"RIFF.{4}WEBP",
}


def load_picture(source: PictureSource, enough: int | None = None) -> Image.Image:
    """Decode a picture completely, first frame, turned upright by its EXIF orientation.

    Args:
        source: a path, the bytes of a file, an open binary file or a PIL image.
        enough: pixels that the longer side needs. A JPEG file is then decoded at 1/2, 1/4 or 1/8 of its size, and any
            file that is grey or RGB is reduced by a power of two (`reduced`), as far as that many are left.

    Raises:
        InputError: missing, unreadable, empty, damaged, of an unknown format, or over `MAX_PIXELS` (judged by the
            header, before anything is decoded).
    """
    name = picture_name(source)
    if isinstance(source, Image.Image):
        return _decode(source, name, enough, ours=False)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(io.BytesIO(source), name, enough)
    if isinstance(source, (str, os.PathLike)):
        with _open_file(Path(source)) as stream:
            return _open(stream, name, enough)
    if hasattr(source, "read"):
        return _open(_seekable(source, name), name, enough)
    raise InputError(
        f"a {type(source).__name__} is not a picture: pass a path, the bytes of a file, an open binary file or a PIL "
        "image (Image.fromarray makes one of an array)"
    )


def picture_size(stream: IO[bytes]) -> tuple[int, int]:
    """Width and height of a picture by its header, before anything is decoded; the open file stays where it is.

    Raises: InputError for a file that is empty, damaged or of an unknown format, as far as the header tells.
    """
    start = stream.tell()
    size = _header(stream, picture_name(stream)).size
    stream.seek(start)
    return size


def pictures_in(path: str | os.PathLike[str]) -> list[Path]:
    """The pictures that a path stands for: a file is itself, a folder is its picture files in order of name.

    Picture files are known by their suffix; hidden files and subfolders do not count.

    Raises:
        InputError: the path is missing or cannot be read, or the folder has no picture.
    """
    return looked_into(path)[0]


def looked_into(path: str | os.PathLike[str]) -> tuple[list[Path], str]:
    """`pictures_in`, and what a folder holds that these leave out, as "2 subfolders and 1 link to nothing", or "".

    Raises: as `pictures_in`.
    """
    if not os.fspath(path):  # an empty variable of a shell, which Path takes for the current folder
        raise InputError("an empty name: give a picture or a folder")
    path = Path(path)
    files, folders, nowhere = [], 0, 0
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path], ""
        for entry in path.iterdir():
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                files.append(entry)
            elif entry.is_dir():
                folders += 1
            elif entry.is_symlink():
                nowhere += 1
    except (OSError, ValueError) as error:
        raise InputError(_why_unreadable(path, error)) from None
    known = picture_suffixes()
    pictures = sorted(file for file in files if file.suffix.lower() in known)
    if not pictures:
        raise InputError(f"{path} has no pictures in it: a folder needs files such as .png, .jpg, .gif, .bmp or .tif")
    told = [f"{folders} subfolder{'s' * (folders > 1)}"] * (folders > 0)
    told += [f"{nowhere} link{'s' * (nowhere > 1)} to nothing"] * (nowhere > 0)
    return pictures, " and ".join(told)


def picture_suffixes() -> set[str]:
    """The suffixes, in lower case and with their dot, that picture files are known by."""
    formats = _formats()
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in formats} | _FROM_PHONES


@cache
def _formats() -> list[str]:
    Image.init()
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    return sorted(_FORMATS & set(Image.OPEN))


def _formats_of(head: bytes) -> list[str]:
    """The formats to try for a file that begins so: of the two usual ones, which their beginning tells, no other.

    Pillow loads its decoders one by one, and all of them take longer than a picture.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ["PNG"]
    return ["JPEG"] if head.startswith(b"\xff\xd8\xff") else _formats()


def _unknown(name: str, head: bytes) -> str:
    """What to say of a file that no decoder knows, by its first bytes."""
    kind = next((kind for kind, how in _BEGINNINGS.items() if re.match(how, head, re.DOTALL)), "")
    if kind in _formats():
        return f"{name} is a damaged picture: it begins as {kind}, and the rest is missing or wrong"
    if kind == "HEIF":
        return f"{name} is a HEIC picture, which pillow-heif decodes: {to_install('heic')}"
    return f"{name} is not a picture of a known format (PNG, JPEG, GIF, BMP, TIFF, WebP …)"


def picture_name(source: object) -> str:
    """What an error calls the picture."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source) if isinstance(source, str) else str(Path(source))
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) else "the picture"


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file or folder"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{path} cannot be read: {(reason or _one_line(error)).lower()}"


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip().rstrip(".") or type(error).__name__


def _open_file(path: Path) -> IO[bytes]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder, not a picture")
        if not stat.S_ISREG(mode):  # a pipe or a device may never end
            raise InputError(f"{path} is not a regular file")
        return path.open("rb")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(_why_unreadable(path, error)) from None


def _seekable(stream: IO[bytes], name: str) -> IO[bytes]:
    """An open file, or what is left of a pipe, which decoders cannot go back in."""
    if getattr(stream, "closed", False):
        raise InputError(f"{name} is a closed file: open it again, or pass its path")
    if isinstance(stream, io.TextIOBase):
        raise InputError(f"{name} is open as text: open it with mode 'rb'")
    if hasattr(stream, "seekable") and stream.seekable():
        return stream
    return io.BytesIO(stream.read())


class _Quiet:
    """Decoders' doubts are not the caller's: what Pillow warns of is left out while any thread decodes.

    `warnings.catch_warnings` puts back what it found, so that of two threads the one that leaves last would put back
    what the other had set.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        """In a forked process: the lock may be held by a thread that is not there any more."""
        self.lock, self.inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.before = warnings.catch_warnings()
                self.before.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)(\.|$)")

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.before.__exit__(None, None, None)


_quiet = _Quiet()


def _open(stream: IO[bytes], name: str, enough: int | None) -> Image.Image:
    image = _header(stream, name)
    if enough and image.width * image.height <= MAX_PIXELS:
        factor = min(8, reduction(image.size, enough))
        image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))  # only JPEG has drafts
    return _decode(image, name, enough)


def _header(stream: IO[bytes], name: str) -> Image.Image:
    """A picture of which only the header is read."""
    start = stream.tell()
    head = stream.read(12)
    if not head:
        raise InputError(f"{name} is empty (0 bytes)")
    stream.seek(start)
    try:
        with _quiet:  # the size is judged below
            return Image.open(stream, formats=_formats_of(head))
    except Image.DecompressionBombError:
        raise InputError(_too_large(name)) from None
    except UnidentifiedImageError:
        raise InputError(_unknown(name, head)) from None
    except Exception as error:  # decoders raise all sorts of things on hostile bytes
        raise InputError(f"{name} is a damaged picture: {_one_line(error)}") from None


def _decode(image: Image.Image, name: str, enough: int | None, ours: bool = True) -> Image.Image:
    """The picture decoded and upright. One of `ours` is turned in its place, which needs no room for both."""
    if image.width * image.height > MAX_PIXELS:
        raise InputError(_too_large(name))
    if image.width * image.height == 0:
        raise InputError(f"{name} has no pixels ({image.width}×{image.height})")
    try:
        with _quiet:
            image.load()
    except Image.DecompressionBombError:
        raise InputError(_too_large(name)) from None
    except Exception as error:
        raise InputError(f"{name} is a damaged picture: {_one_line(error)}") from None
    try:
        if image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image, in_place=ours) or image  # type: ignore[call-overload]
    except Exception:  # unreadable EXIF data say nothing about the pixels
        pass
    if enough and image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        return _reduced_opaque(image, enough)  # as screenshots often are
    return reduced(image, enough) if enough and image.mode in ("L", "RGB") else image


def bands(image: Image.Image, multiple: int = 1) -> Iterator[Image.Image]:
    """A picture in bands of whole rows from the top, of some 2 million pixels: what is made of one takes little memory.

    All but the last are a multiple of `multiple` rows high. A picture that is no larger than one band is itself.
    """
    if image.width * image.height <= _BAND:
        yield image
        return
    rows = max(1, _BAND // (image.width * multiple)) * multiple
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def reduction(size: tuple[int, int], enough: int) -> int:
    """The largest power of two by which a picture of this size can be reduced, `enough` pixels left of its longer side.

    At least one pixel is left of the shorter one.
    """
    factor = 1
    while max(size) // (2 * factor) >= enough and min(size) >= 2 * factor:
        factor *= 2
    return factor


def reduced(image: Image.Image, enough: int) -> Image.Image:
    """Means of blocks of `reduction` pixels each way, to the nearest, halves up, what fills no block left out.

    Pictures of palettes, of one bit and of 16 bits, whose values have no such means, are left as they are.
    For a power of two that is exactly Pillow's arithmetic, (sum + n/2) // n.
    """
    factor = reduction(image.size, enough)
    if factor == 1 or "transparency" in image.info or image.mode not in _REDUCED:
        return image
    return means(image, factor)


def means(image: Image.Image, factor: int) -> Image.Image:
    """The means of `reduced` for a factor, which is a power of two and at most as large as the shorter side."""
    return image.reduce(factor, box=(0, 0, image.width // factor * factor, image.height // factor * factor))


def _reduced_opaque(image: Image.Image, enough: int) -> Image.Image:
    """`reduced` for RGBA without transparency, which becomes RGB."""
    factor = reduction(image.size, enough)
    small = Image.new("RGB", (image.width // factor, image.height // factor))
    top = 0
    for band in bands(image, factor):
        if band.height >= factor:
            small.paste(means(band.convert("RGB"), factor), (0, top))
            top += band.height // factor
    return small


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS:,} pixels: scale it down first"
