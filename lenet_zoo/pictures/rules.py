"""Rules of paper, tables and boxes that cross the picture, found in the ink. Step 7 of `character`."""

from __future__ import annotations

import math

import numpy as np

from lenet_zoo.pictures.components import components, run_lengths
from lenet_zoo.pictures.kernels import Bytes, Ints, Mask, box_of, edge_count, extreme, extreme_along, nearest
from lenet_zoo.pictures.pieces import central

__all__ = ["rules_along", "rules_in", "without_rules"]

# The columns of old tables are ruled as thick as the side over this. Lying bars and feet of digits are as thick.
_THICK = 7


def rules_in(mask: Mask, rise: Bytes) -> Mask | None:
    """The pixels that belong to rules alone, not to a stroke that crosses one; None where there are none."""
    box = _box(mask)
    if box is not None:
        return box
    upright, lying = _lying_rules(mask.T) or _lying_rules(mask.T, share=_THICK), _lying_rules(mask)
    if upright is None and lying is None:
        return None
    nothing = np.zeros_like(mask)
    columns, column_bands = (part.T for part in upright) if upright is not None else (nothing, nothing)
    rows, row_bands = lying if lying is not None else (nothing, nothing)
    rules = rows | columns | (row_bands & column_bands & mask)
    rest = mask & ~rules
    if not rest.any():
        return None
    pieces = components(rest)
    main = central(pieces)
    top, bottom, left, right = (int(edge[main]) for edge in pieces.boxes)
    if 6 * max(bottom - top, right - left) < max(mask.shape):
        return None  # nothing is left: a 1
    # The bar of a 4 or 7 that is cut to its ink crosses its picture, too: but then the character fills the picture in
    # the other direction as well, neighbours that do not touch the bar left aside, and the bar is as dark as the rest.
    joined = pieces.sums(extreme(rules, 1, np.logical_or)) > 0
    if not joined.any():
        return rules
    character = pieces.mask(joined)
    fills = lying is not None and _fills(rows, character, rest)
    if upright is not None and not fills and _fills(columns.T, character.T, rest):
        fills = not _beside(columns, pieces.mask(np.arange(pieces.count) == main))
    if fills:
        rule_sum, rest_sum = int(rise[rules].sum()), int(rise[rest].sum())
        if 10 * rule_sum * np.count_nonzero(rest) >= 9 * rest_sum * np.count_nonzero(rules):
            return None
    return rules


def _box(mask: Mask) -> Mask | None:
    """The pixels of a box that lies within the picture around a character, which may touch it; None without a box."""
    height, width = mask.shape
    for lines in (mask, mask.T):
        full = _full(lines, 4)
        if not full.size or 5 * int(full[-1] - full[0]) < 2 * len(lines):
            return None  # as nearly always
    unit = max(height, width)
    lying = _lying_rules(mask, unit, free=2 * width / 5)
    upright = _lying_rules(mask.T, unit, free=2 * height / 5)
    if lying is None or upright is None:
        return None
    rows, columns = (extreme(course, 2, np.logical_or) for _, course in (lying, upright))
    full = _full(columns, 4)
    ends = _sides(rows, int(full[0]), int(full[-1])) if full.size else None
    sides = _sides(columns, *ends) if ends else None
    ends = _sides(rows, *sides) if sides else None
    if ends is None or sides is None:
        return None
    (top, bottom), (left, right) = ends, sides
    rules = lying[0] | upright[0].T | (lying[1] & upright[1].T & mask)
    # As thick as the thickest of the four; all are seen here with 2 px more.
    framed = rules[top : bottom + 1, left : right + 1]
    around = (framed, framed[::-1], framed.T, framed.T[::-1])
    edge = 3 + max(_full(side[: unit // 9 + 2], 5).size for side in around)
    inside = slice(top + edge, bottom + 1 - edge), slice(left + edge, right + 1 - edge)
    pieces = components(np.ascontiguousarray(mask[inside]))
    if not pieces.count or 3 * int((pieces.boxes[1] - pieces.boxes[0]).max()) < bottom - top:
        return None  # a block 8 has its bar there, and the corners of a 0 may be round
    near = np.zeros_like(mask)
    near[top : bottom + 1, left : right + 1] = True
    near[inside] = False
    return rules & near


def _full(lines: Mask, tenths: int) -> Ints:
    """The rows that so much of the width is in."""
    return np.flatnonzero(10 * np.count_nonzero(lines, axis=1) >= tenths * lines.shape[1])


def _sides(lines: Mask, first: int, last: int) -> tuple[int, int] | None:
    """The first and the last row that lines go along from one column to another, and not on beyond; None for others.

    They are 2/5 of the picture apart.
    """
    within = np.count_nonzero(lines[:, first : last + 1], axis=1)
    beyond = np.count_nonzero(lines, axis=1) - within
    long = last + 1 - first
    rows = np.flatnonzero((10 * within >= 9 * long) & (10 * beyond <= long))
    if not rows.size or 5 * int(rows[-1] - rows[0]) < 2 * len(lines):
        return None
    return int(rows[0]), int(rows[-1])


def _fills(lying: Mask, character: Mask, rest: Mask) -> bool:
    """Whether lying rules may be bars of a character that is cut to its ink.

    With the pieces that touch them they fill the height, and the pen that wrote the rest may have drawn them.
    """
    depth = np.count_nonzero(lying), np.count_nonzero(lying.any(0))
    if 3 * depth[0] * edge_count(rest) < 5 * depth[1] * np.count_nonzero(rest):
        return False
    first, last, _, _ = box_of(lying | character)
    near = max(lying.shape) // 32
    return first <= near and last >= lying.shape[0] - near


def _beside(upright: Mask, main: Mask) -> bool:
    """Whether a character of nearly the picture's height stands beside a rule and meets it in one place at most.

    The side of a block digit meets the rest at both ends; what a stem of 4 or 9 leaves is not so high.
    """
    height = main.shape[0]
    top, bottom, _, _ = box_of(main)
    meeting = np.flatnonzero((extreme(main, 1, np.logical_or) & upright).any(1))
    reach = int(np.ptp(meeting)) + 1 if meeting.size else 0
    return 4 * (bottom - top) >= 3 * height and 2 * reach < height


def rules_along(mask: Mask, unit: int) -> Mask | None:
    """The pixels of rules along a line of writing, of a picture whose characters are `unit` px high at most.

    These may end within the picture: what is straight over half of its width is no stroke of a digit.
    """
    found = _lying_rules(mask, unit)
    return None if found is None or not (mask & ~found[0]).any() else found[0]


def _lying_rules(
    mask: Mask, unit: int | None = None, share: int = 9, free: float | None = None
) -> tuple[Mask, Mask] | None:
    """Pixels of the rules that go from left to right, and their course, crossing strokes included.

    `unit` is the side of one character's picture, if the mask is not that; 1/`share` of it is as deep as a rule gets.
    What is at least `free` long is a rule wherever it ends, if there is a unit.
    """
    height, width = mask.shape
    single = unit is None
    if single and not mask[:, :2].any() and not mask[:, -2:].any():
        return None
    free = free or (max(width / 2, 1.5 * unit) if unit else math.inf)
    unit = unit or max(height, width)
    thick, reach = unit // share, max(2, unit // 14)
    mask = np.ascontiguousarray(mask)
    depth = run_lengths(np.ascontiguousarray(mask.T)).T
    # Straight stretches of what is thin, by an opening along the row that forgives a step of one pixel; and whole long
    # runs, so that the crossings of a grid do not break them.
    thin = extreme_along(mask & (depth <= thick), 1, np.logical_or)
    course = extreme_along(np.ascontiguousarray(thin.T), reach, np.logical_and)
    course = np.ascontiguousarray(extreme_along(course, reach, np.logical_or).T)
    course |= mask & (2 * run_lengths(mask) >= width)
    covered = np.count_nonzero(course.any(0))
    if not covered or (single and 5 * covered < 4 * width):
        return None
    rules, courses = np.zeros_like(mask), np.zeros_like(mask)
    for top, bottom, left, right in zip(*(edge.tolist() for edge in components(course).boxes), strict=True):
        if 8 * (right - left) < width:
            continue
        first = max(0, top - 2)
        band = slice(first, bottom + 2)  # what continues the stretch lies in it
        part = course[band]
        columns = np.flatnonzero(part.any(0))
        start, end = int(columns[0]), int(columns[-1]) + 1
        if 5 * (bottom - top - 1) > end - start or 4 * columns.size < 3 * (end - start):
            continue
        if columns.size < free:
            if 5 * columns.size < 4 * width or (start > 1 and end < width - 1):
                continue
            if not all(_leaves(part[:, at].nonzero()[0] + first, at, mask.shape) for at in (start, end - 1)):
                continue
        depths = np.sort(depth[band][part & mask[band]])
        if not depths.size or depths[depths.size // 2] > thick:
            continue
        # The lower quartile: a bar of the character upon the rule is thicker.
        own = mask[band] & part & (2 * depth[band] <= 3 * depths[depths.size // 4] + 3)
        if _waves(own):
            if single:
                continue  # the foot of a 2 that goes from one side to the other
            own &= _straight(mask[band] & part, free)
        rules[band] |= own
        courses[band] |= part
    return (rules, courses) if rules.any() else None


def _waves(rule: Mask) -> bool:
    """Whether the middles of its columns lie over 1 px (root mean square) away from the straight line through them."""
    at = np.flatnonzero(rule.any(0))
    n, height = at.size, rule.shape[0]
    twice = rule[:, at].argmax(0) + height - 1 - rule[::-1, at].argmax(0)  # the middle row, doubled
    across = n * int(at @ at) - int(at.sum()) ** 2
    down = n * int(twice @ twice) - int(twice.sum()) ** 2
    both = n * int(at @ twice) - int(at.sum()) * int(twice.sum())
    return across * down - both * both > 4 * n * n * across


def _straight(ink: Mask, least: float) -> Mask:
    """The straight lines in a band of ink, 3 px thick and `least` columns long, with ink in nine columns of ten.

    The feet of several digits that touch, or stand upon a rule, are as thin and long as a rule together. But they are
    curved: no straight line goes through them all.
    """
    height, width = ink.shape
    found, rows, columns = np.zeros_like(ink), *ink.nonzero()
    while True:
        best, upon = 0, np.zeros(rows.size, np.bool_)
        for fall in range(1 - height, height, 2):  # from the first column to the last
            level = rows - nearest(fall * columns, width) + max(fall, 0)
            filled = np.zeros((height + abs(fall) + 2, width), np.bool_)
            filled[level + 1, columns] = True
            filled[1:-1] |= filled[:-2] | filled[2:]
            counts = np.count_nonzero(filled, axis=1)
            middle = int(counts.argmax())
            if counts[middle] > best:
                best, upon = int(counts[middle]), np.abs(level + 1 - middle) <= 1
        across = columns[upon]
        if best < least or 10 * best < 9 * (int(across.max()) + 1 - int(across.min())):
            return found
        found[rows[upon], across] = True
        rows, columns = rows[~upon], columns[~upon]


def _leaves(rows: np.ndarray, column: int, shape: tuple[int, int]) -> bool:
    """Whether a stretch whose end has these rows leaves the picture there, by the side or by the top or bottom."""
    return min(column, shape[1] - 1 - column) <= 1 or int(rows[0]) <= 1 or int(rows[-1]) >= shape[0] - 2


def without_rules(rise: Bytes, mask: Mask, rules: Mask) -> tuple[Bytes, Mask]:
    """The picture without its rules, and the pixels that went, among them the faint edge of a rule.

    Pixels much darker than the rule are ink upon it, and stay.
    """
    levels = np.sort(rise[rules])
    faint = 2 * rise.astype(np.int16) <= 3 * int(levels[levels.size // 2])
    gone = extreme(rules, 1, np.logical_or) & faint & ~(mask & ~rules)
    return rise * ~gone, gone
