"""Which pieces of the ink are the character. Step 8 of `character`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.components import Pieces, components, filled
from lenet_zoo.pictures.kernels import Bytes, Ints, Mask, box_of, extreme, mean_stroke, padded, ring

__all__ = ["SEVERAL", "central", "frames", "joined", "kept_pieces", "without_tails"]

SEVERAL = "several characters: lenet-zoo read reads numbers"
_NO_STROKE = "no digit: the picture is light and shade without a stroke"


@lru_cache(maxsize=256)
def _nearness(length: int) -> tuple[Ints, Ints]:
    """256 in the middle of an axis, falling evenly to the ends; and its sums over all that comes before a place."""
    places = np.arange(length)
    weights = 512 * np.minimum(places + 1, length - places) // (length + 1)
    return weights, np.concatenate([[0], weights.cumsum()])


def _weight(pieces: Pieces) -> Ints:
    """Area weighted by nearness to the middle in both directions: the asked character counts, not its neighbour."""
    rows, _ = _nearness(pieces.shape[0])
    _, columns = _nearness(pieces.shape[1])
    return pieces.total(rows[pieces.rows] * (columns[pieces.ends] - columns[pieces.starts]))


def central(pieces: Pieces) -> int:
    """The piece of the largest weight."""
    return int(_weight(pieces).argmax())


def kept_pieces(rise: Bytes, mask: Mask, pale: int, shrunk: bool, whole: tuple[int, int] | None) -> Mask:
    """The mask without frames, edges, neighbours, specks, underlines and shadows, which are paler than `pale`.

    Args:
        shrunk: whether the picture was twice as large.
        whole: height and width of the picture when it is looked at whole; None once it has been cut closer.

    Raises:
        NoDigitError: shadows only, more than 12 pieces, or several characters.
    """
    height, width = mask.shape
    # A hair line of a large picture may have broken: gaps of 2 px are bridged.
    hair = shrunk and 32 * np.count_nonzero(mask) < mask.size
    pieces = components(extreme(mask, 1, np.logical_or) if hair else mask)
    if pieces.count == 1:  # most pictures: nothing can go but all of it
        if int((rise * mask).sum(dtype=np.uint32)) < pale * np.count_nonzero(mask):
            raise NoDigitError(_NO_STROKE)
        return mask
    within = next((within for _, within in frames(pieces)), None)
    if within is not None:
        return kept_pieces(rise, mask & within, pale, shrunk, whole)
    # What touches the border is perhaps a neighbour's.
    parts = joined(mask, components(mask) if hair else pieces, single=True, dots_alone=bool(pieces.borders.any()))
    if parts is not None and parts.dots:
        return mask & parts.ink
    if parts is not None:
        return kept_pieces(np.maximum(rise, np.uint8(255) * (parts.ink & ~mask)), parts.ink, pale, shrunk, whole)
    tops, bottoms, lefts, rights = pieces.boxes
    heights, widths, area, weight = bottoms - tops, rights - lefts, pieces.area, _weight(pieces)
    sides = pieces.borders
    stray = ((widths == width) & (10 * heights <= height)) | ((heights == height) & (10 * widths <= width))
    stray |= (2 * sides >= np.array([[width], [width], [height], [height]])).any(0)
    keep = np.ones(pieces.count, np.bool_)
    # A character that is cut by its box runs along the border, too: but it outweighs what else there is.
    rest = int(np.maximum(heights, widths)[~stray].max(initial=0))
    if 6 * rest >= max(height, width) and 4 * int(weight[~stray].max()) >= int(weight[stray].max(initial=0)):
        keep = ~stray
    dark = keep & (pieces.sums(rise * mask) >= pale * (pieces.sums(mask) if hair else area))
    if not dark.any():
        raise NoDigitError(_NO_STROKE)
    main = int(np.where(dark, weight, -1).argmax())
    outside = (lefts + rights < 2 * lefts[main]) | (lefts + rights > 2 * rights[main])
    outside |= (tops + bottoms < 2 * tops[main]) | (tops + bottoms > 2 * bottoms[main])
    keep &= dark | ~outside  # what is pale within the box is where the pen ran dry
    cut = sides.max(0) > 0
    cut[main] = False
    keep &= ~cut
    keep &= 20 * area >= area[keep].max()
    # A dot beside the character: no broken stroke, as those lie within the box, with ink around them.
    sizes = np.maximum(heights, widths)
    small = 5 * sizes <= sizes[main]
    keep &= ~(outside & small)
    if keep.sum() > 12:  # printed text, perhaps, above and below
        keep &= ~((3 * heights <= heights[main]) & ((bottoms <= tops[main]) | (tops >= bottoms[main])))
    if keep.sum() > 12:
        raise NoDigitError("no digit: the picture is noise")
    for piece in np.flatnonzero(keep & small).tolist():
        keep[piece] = not _in_a_corner(pieces, main, piece)
    if _several(pieces, main, keep, cut & ~stray, whole):
        raise NoDigitError(SEVERAL)
    keep = _near(pieces, main, keep & ~_underlines(pieces, main, keep))
    return pieces.mask(keep) & mask if hair else pieces.mask(keep)


class Joined(NamedTuple):
    """Ink whose gaps are bridged, without what is no character where it is of dots; and whether it is of these."""

    ink: Mask
    dots: bool


def joined(mask: Mask, pieces: Pieces, single: bool = False, dots_alone: bool = False) -> Joined | None:
    """The ink of characters that are of segments or of dots, joined; None for other ink.

    Args:
        pieces: those of the mask.
        single: whether it is one character, of which 7/8 of the dots have to become one piece.
        dots_alone: whether segments are not looked for.
    """
    if pieces.count < 2:
        return None
    tops, bottoms, lefts, rights = pieces.boxes
    heights, box, inked = bottoms - tops, int(bottoms.max() - tops.min()), int(np.count_nonzero(mask))
    sizes = np.maximum(heights, rights - lefts)
    usual = int(np.median(sizes))
    alike = (sizes <= 2 * usual) & (2 * sizes >= usual)
    dots = np.count_nonzero(alike) >= 8 and 5 * usual <= box
    dots = dots and 8 * int(pieces.area[alike].sum()) >= 7 * int(pieces.area.sum())
    # Small digits are of one size, too, but have more paper in their boxes.
    if dots and 2 * int(pieces.area[alike].sum()) >= int(sizes[alike] @ sizes[alike]):
        return _dots(mask, box, usual, inked, single)
    if dots_alone or (single and 8 * int(pieces.area[4 * heights >= 3 * box].sum()) >= 7 * inked):
        return None
    # Segments are hardly further apart than they are wide.
    for reach in range(1, max(1, min(box // 16, 2 * mean_stroke(mask) // 3)) + 1):
        closed = _closed(mask, reach)
        whole = components(closed)
        tops, bottoms, lefts, rights = whole.boxes
        tall = int((bottoms - tops).max())
        full = 4 * (bottoms - tops) >= 3 * tall
        if 8 * int(whole.sums(mask)[full].sum()) < 7 * inked:
            continue
        if not all(_level(lefts[full], edges[full], tall) for edges in (tops, bottoms)):
            continue
        # In which of the joined pieces each of the others lies, by its first run.
        _, first = np.unique(pieces.labels, return_index=True)
        width = mask.shape[1]
        starts = pieces.rows[first] * width + pieces.starts[first]
        holder = whole.labels[np.searchsorted(whole.rows * width + whole.starts, starts, "right") - 1]
        count = np.bincount(holder, minlength=whole.count)
        high = np.bincount(holder[4 * heights >= 3 * tall], minlength=whole.count)
        of_parts = full & (count > 1) & (high <= 1) & (rights - lefts <= bottoms - tops)
        if 3 * np.count_nonzero(of_parts) >= 2 * np.count_nonzero(full):
            return Joined(mask | (closed & whole.mask(of_parts)), False)
    return None


def _dots(mask: Mask, box: int, usual: int, inked: int, single: bool) -> Joined | None:
    """Dots of the `usual` size, joined, in ink of the height `box`; None where they are no strokes."""
    for reach in range(1, usual + 2):
        wide = extreme(mask, reach, np.logical_or)
        whole = components(wide)
        tops, bottoms, lefts, rights = whole.boxes
        high = 2 * (bottoms - tops) >= box
        held = whole.sums(mask)[high]
        # Of a line a loop that stays open is a 6 for an 8; of one character, what does not join is perhaps a speck.
        if high.any() and (8 * int(held.max()) >= 7 * inked if single else 32 * int(held.sum()) >= 31 * inked):
            sides = np.maximum(bottoms - tops, rights - lefts)[high]
            if 5 * int(whole.area[high].sum()) > 3 * int(sides @ sides):
                return None
            return Joined(whole.mask(high) if single else wide, True)
    return None


def _level(places: Ints, edges: Ints, tall: int) -> bool:
    """Whether edges lie on a line, within 1/8 of a height, as no hand writes; it falls or rises by 1/8 at most."""
    order = np.argsort(places, kind="stable")
    along, down = places[order] - places[order[0]], edges[order] - edges[order[0]]
    long, fall = int(along[-1]), int(down[-1])
    if 8 * abs(fall) > max(long, tall):
        return False
    return bool((8 * np.abs(down * long - fall * along) <= tall * long).all())


def _closed(mask: Mask, reach: int) -> Mask:
    """What squares of 2·reach + 1 px do not fit into, if they touch no ink; beyond the picture lies paper."""
    closed = extreme(extreme(padded(mask, reach), reach, np.logical_or), reach, np.logical_and)
    return np.ascontiguousarray(closed[reach:-reach, reach:-reach])


def frames(pieces: Pieces, of_lines: bool = False) -> Iterator[tuple[int, Mask]]:
    """The rings and boxes that are drawn around another piece, the largest first, each with all that is within it.

    A 0 may hold a dot or a stroke of its own: what is drawn around a character is as wide as that, or has corners. In
    lines, a narrow ring is one, too, around what is half as high.
    """
    tops, bottoms, lefts, rights = pieces.boxes
    heights, widths = bottoms - tops, rights - lefts
    sizes = np.where((heights >= 8) & (2 * widths >= heights), pieces.area, 0)
    for piece in np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)].tolist():
        height, width = int(heights[piece]), int(widths[piece])
        inner = (tops > tops[piece]) & (bottoms < bottoms[piece]) & (lefts > lefts[piece]) & (rights < rights[piece])
        inner &= 4 * heights >= height
        if not inner.any():
            continue
        frame = pieces.mask(np.arange(pieces.count) == piece)
        tight = frame.copy()  # a line of single pixels, corner to corner, lets paper through: a pixel more does not
        tight[:, 1:] |= frame[:, :-1]
        whole = filled(tight)
        within, area, box = whole & ~frame, np.count_nonzero(whole), height * width
        if 2 * np.count_nonzero(within) < area or 5 * area < 3 * box:
            continue
        # Rings in a row fill less of their box.
        rings = 1 if 20 * area >= 17 * box else _hills(whole, lefts[piece], rights[piece], height)
        wide_enough = 5 * width >= 4 * height or (of_lines and (inner & (2 * heights >= height)).any())
        round_enough = wide_enough and (4 * area >= 3 * box or (of_lines and rings > 1))
        # Of rings that hang together each has a character in it, or that has become one with its ring.
        if not (round_enough or 10 * area >= 9 * box) or np.count_nonzero(inner) < rings:
            continue
        if pieces.sums(within)[inner].any():
            yield piece, within


def _hills(whole: Mask, left: int, right: int, height: int) -> int:
    """Of how many hills the upper edge of a piece is, or the lower one if that has more: rings in a row.

    Between two of them it falls and rises by 1/8 of the height.
    """
    most = 0
    for rows in (whole, whole[::-1]):
        hills, climbing, turn = 1, True, height
        for level in rows[:, left:right].argmax(0).tolist():  # rows count downwards
            if (level < turn) == climbing:
                turn = level
            elif 8 * abs(level - turn) > height:
                climbing, turn = not climbing, level
                hills += climbing
        most = max(most, hills)
    return most


def _underlines(pieces: Pieces, main: int, keep: Mask) -> Mask:
    """Flat pieces under all others, as wide as those together."""
    tops, bottoms, lefts, rights = pieces.boxes
    flat = keep & (4 * (bottoms - tops) <= rights - lefts)
    flat[main] = False
    rest = keep & ~flat
    under = flat & (tops >= bottoms[rest].max() + 2)
    return under & (rights - lefts >= rights[rest].max() - lefts[rest].min())


def _near(pieces: Pieces, main: int, keep: Mask) -> Mask:
    """The main piece, those of half its size, and what is within a quarter of it of any that stay."""
    if np.count_nonzero(keep) == 1:
        return keep
    tops, bottoms, lefts, rights = pieces.boxes
    sizes = np.maximum(bottoms - tops, rights - lefts)
    reach = max(2, int(sizes[main]) // 4)
    near = keep & (2 * sizes >= sizes[main])
    while True:
        around = extreme(pieces.mask(near), reach, np.logical_or)
        nearer = keep & (pieces.sums(around) > 0)
        if (nearer == near).all():
            return near
        near = nearer


def without_tails(kept: Mask) -> Mask:
    """A loop of the character's height without what leads from it to the border: step 8's last part.

    A character that is cut out of a line of writing keeps the stroke to its neighbour, and a 0 with one is an "a", a 9
    or a 2. The tail of a 9 and the stem of a 6 stay, as their loops are not of the character's height.
    """
    if not ring(kept).any():
        return kept
    paper = components(~kept)
    holes = np.where(paper.borders.max(0) > 0, 0, paper.area)
    if not holes.any():
        return kept
    stroke = mean_stroke(kept) + 1
    largest = int(holes.argmax())
    top, bottom, _, _ = (int(edge[largest]) for edge in paper.boxes)
    first, last, _, _ = box_of(kept)
    if 5 * (bottom - top + 2 * stroke) < 4 * (last - first):
        return kept
    hole = np.arange(paper.count) == largest
    rest = components(kept & ~extreme(paper.mask(hole), stroke, np.logical_or))
    return kept & ~rest.mask(rest.borders.max(0) > 0) if rest.count else kept


def _in_a_corner(pieces: Pieces, main: int, piece: int) -> bool:
    """Whether the main piece lies on one side of a piece in its rows, and on one side of it in its columns."""
    top, bottom, left, right = (int(edge[piece]) for edge in pieces.boxes)
    of_main = pieces.labels == main
    rows, starts, ends = pieces.rows[of_main], pieces.starts[of_main], pieces.ends[of_main]
    level, in_line = (rows >= top) & (rows < bottom), (starts < right) & (ends > left)
    beside = (ends[level] <= left).all() or (starts[level] >= right).all()
    return bool(beside and ((rows[in_line] < top).all() or (rows[in_line] >= bottom).all()))


def _several(pieces: Pieces, main: int, keep: Mask, cut: Mask, whole: tuple[int, int] | None) -> bool:
    """Whether others of the main piece's height stand beside it, on its line."""
    tops, bottoms, lefts, rights = pieces.boxes
    heights, widths, area, width = bottoms - tops, rights - lefts, pieces.area, pieces.shape[1]
    string = whole is not None and 5 * whole[1] >= 9 * whole[0]
    if string:
        others = keep | cut
    elif (cut & (8 * area >= area[main])).any():
        return False  # neighbours' remnants: what else stands here whole is a neighbour, too
    else:
        others = keep & (24 * np.minimum(lefts, width - rights) >= width)
    overlap = np.minimum(rights, rights[main]) - np.maximum(lefts, lefts[main])
    level = np.minimum(bottoms, bottoms[main]) - np.maximum(tops, tops[main])
    others &= (8 * overlap <= np.minimum(widths, widths[main])) & (4 * area >= area[main])
    others &= (2 * heights >= heights[main]) & (2 * heights[main] >= heights)
    others &= 8 * level >= 5 * np.maximum(heights, heights[main])
    others[main] = False
    count = np.count_nonzero(others)
    if not count or string or count > 1 or whole is None:
        return bool(count)
    # Of two, one is a neighbour that came along unless both together stand nearer to the middle than the main one.
    others[main] = True
    both = abs(int(lefts[others].min()) + int(rights[others].max()) - width)
    return both < abs(int(lefts[main]) + int(rights[main]) - width)
