"""From the answers along a line to its text: best path, beam search, and how probable a text is, exactly. numpy only.

A network that reads lines answers at every position: a class, or "none". A text's probability is the sum over all the
ways to answer that give it when repeated answers count once and "none" counts nothing: connectionist temporal
classification (Graves, Fernández, Gomez, Schmidhuber, ICML 2006), which is also what the paper's graph transformer does
with the outputs of a space displacement network (p. 29).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FIRST",
    "STEP",
    "Path",
    "beam_search",
    "best_path",
    "log_probability",
    "log_softmax",
    "middles_of",
    "spans",
]

STEP, FIRST = 2, 14
"""Pixels of the line from one position to the next, and the middle of the first one's window."""

Answers = NDArray[np.float64]
"""Logarithms of probabilities, T×(classes + 1): one row per position, "none" last. Rows sum to 1 as probabilities."""

# What a position has to give a class for the beam to follow it: one in ten thousand.
_FLOOR = math.log(1e-4)


@dataclass(frozen=True)
class Path:
    """A text as a sequence of classes, and the logarithm of its probability."""

    classes: tuple[int, ...]
    log_probability: float


def log_softmax(logits: NDArray[np.float64]) -> Answers:
    """Logits T×(classes + 1) as answers; or those of several lines, N×T×(classes + 1)."""
    rows = logits - logits.max(-1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(-1, keepdims=True))
    return rows


def best_path(answers: Answers) -> tuple[int, ...]:
    """The text of the likeliest answer at each position."""
    return tuple(_runs(answers)[0].tolist())


def _runs(answers: Answers) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The classes of the best path, and the first and the last position of each."""
    best = answers.argmax(1)
    changed = np.ones(len(best) + 1, np.bool_)
    np.not_equal(best[1:], best[:-1], out=changed[1:-1])
    edges = changed.nonzero()[0]
    labels = best[edges[:-1]]
    digits = labels != answers.shape[1] - 1
    return labels[digits], edges[:-1][digits], edges[1:][digits] - 1


def log_probability(answers: Answers, classes: Sequence[int]) -> float:
    """The logarithm of a text's probability: the sum over all its paths.

    The forward recursion goes position by position. Here it goes class by class, and what a path has of "none" is left
    out until the end. With D the sum of a class's own logarithms so far, less those of "none", the paths that are in it
    at t weigh α(t) = D(t) + log Σ exp(entered(τ) − D(τ − 1)) over τ ≤ t, which numpy accumulates in one call. Once they
    have left it for "none", their weight stays. So what enters another class at t is log Σ exp α(τ) over τ < t, and the
    same class again, from which "none" has to part it, over τ < t − 1.
    """
    length = len(answers)
    if not length:
        return -np.inf if classes else 0.0
    none = answers[:, -1]
    # One position more than there are: D(t − 1) stands at t.
    sums = np.zeros((len(classes), length + 1))
    np.cumsum(answers.T[[*classes]] - none, axis=1, out=sums[:, 1:])
    # What may enter at t − 1, and at one position more than there are. Before the first class, all may at once.
    entered, ends, before = np.zeros(length + 2), np.empty(length), -1
    for label, total in zip(classes, sums, strict=True):
        np.subtract(entered[:length] if label == before else entered[1:-1], total[:-1], out=ends)
        np.logaddexp.accumulate(ends, out=ends)
        ends += total[1:]
        entered[:2], before = -np.inf, label
        np.logaddexp.accumulate(ends, out=entered[2:])
    return min(0.0, float(none.sum() + entered[-1]))  # a sum of logarithms may end 1e-12 above


def beam_search(
    answers: Answers, width: int = 16, expect: re.Pattern[str] | None = None, count: int | None = None
) -> list[Path]:
    """The likeliest texts, best first, each with its exact probability.

    Prefixes are followed from position to position, the `width` best of them. The probability that the search itself
    finds leaves out what was cut; so each text's is computed again, as `log_probability`.

    Args:
        answers: as above.
        width: texts that are kept at each position.
        expect: what a text, as digits, must match from end to end; others are left out of the result.
        count: how many texts are wanted; None for all. What the search finds of a text nearly gives their order: two
            texts more than that are computed again.
    """
    found = _likely_texts(answers, width)
    texts = [text for text in found if expect is None or expect.fullmatch("".join(map(str, text)))]
    if count is not None:
        texts = texts[: count + 2]
    paths = [Path(text, log_probability(answers, text)) for text in texts]
    return sorted(paths, key=lambda path: -path.log_probability)[:count]


def _likely_texts(answers: Answers, width: int) -> list[tuple[int, ...]]:
    """The texts that the search ends with, by what it finds of their probabilities, which it brings back to 1.

    At two positions of three no class is likely enough to be followed. They are stretches between the others, and
    change a prefix in one way, whichever it is, but for its last class.
    """
    none = answers.shape[1] - 1
    likely = answers[:, :none] > _FLOOR
    steps = np.flatnonzero(likely.any(1))
    empty, repeated, ended = (stretches.tolist() for stretches in _stretches(answers, steps))
    rows = np.exp(answers[steps]).tolist()
    # prefix → the probability of the paths that end in "none", and of those in its last class
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (empty[0], 0.0)}
    for i, step in enumerate(steps.tolist(), 1):
        row, labels = rows[i - 1], likely[step].nonzero()[0].tolist()
        following = {
            prefix: ((blank + digit) * row[none], digit * row[prefix[-1]] if prefix else 0.0)
            for prefix, (blank, digit) in beams.items()
        }
        # No two prefixes become the same one; only one that was there before may be met.
        for prefix, (blank, digit) in beams.items():
            last = prefix[-1] if prefix else none
            for label in labels:
                text = (*prefix, label)
                more = (blank if label == last else blank + digit) * row[label]
                known = following.get(text)
                following[text] = (0.0, more) if known is None else (known[0], known[1] + more)
        best = sorted(((blank + digit, text) for text, (blank, digit) in following.items()), reverse=True)[:width]
        beams, largest = {}, best[0][0] or 1.0
        for _, text in best:
            blank, digit = (part / largest for part in following[text])
            last = text[-1] if text else none
            beams[text] = empty[i] * (blank + digit * ended[i][last]), digit * repeated[i][last]
    return sorted(beams, key=lambda text: -sum(beams[text]))


def _stretches(answers: Answers, steps: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """What the stretches before, between and after these positions do to probabilities.

    Returns: of each stretch the factor of paths that stay at "none"; that of paths which stay at each class; and of
        these the sum, over where in the stretch they go to "none", of their factor so far, divided by that of "none".
    """
    firsts, ends = np.concatenate([[0], steps + 1]), np.concatenate([steps, [len(answers)]])
    sums = np.zeros((len(answers) + 1, answers.shape[1]))
    np.cumsum(answers, axis=0, out=sums[1:])
    factors = np.exp(sums[ends] - sums[firsts])
    odds, lengths = sums - sums[:, -1:], ends - firsts
    gone = np.zeros_like(factors)
    some = np.flatnonzero(lengths)
    if some.size:
        within = np.delete(odds[:-1], steps, axis=0) - np.repeat(odds[firsts[some]], lengths[some], axis=0)
        gone[some] = np.add.reduceat(np.exp(within), np.cumsum(lengths[some]) - lengths[some], axis=0)
    return factors[:, -1], factors, gone


def spans(answers: Answers, classes: Sequence[int]) -> list[tuple[int, int]]:
    """Where each class of a text stands on its likeliest path: the first position and the last (Viterbi).

    Raises: ValueError for a text that has no path, as it is longer than the line.
    """
    labels, firsts, lasts = _runs(answers)
    if labels.tolist() == list(classes):  # the likeliest path of all is the text's likeliest
        return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
    none, length = answers.shape[1] - 1, len(answers)
    # State by state, as above, with the best way in place of the sum. Even states are "none", odd ones the classes.
    best, entries = [answers[:, none].cumsum()], [np.empty(0)]
    for state in range(1, 2 * len(classes) + 1):
        own = answers[:, classes[state // 2] if state % 2 else none]
        total = own.cumsum()
        entered = np.full(length, -np.inf)
        entered[1:] = best[-1][:-1]
        if state == 1:
            entered[0] = 0.0
        elif _may_skip(state, classes):
            np.maximum(entered[1:], best[-2][:-1], out=entered[1:])
        entries.append(entered - (total - own))
        best.append(total + np.maximum.accumulate(entries[-1]))
    state, last = len(best) - 1, length - 1
    if state and best[-2][-1] > best[-1][-1]:
        state -= 1
    if not np.isfinite(best[state][-1]):
        raise ValueError("the text is longer than the line")
    found = [(-1, -1) for _ in classes]
    while state and last >= 0:
        first = int(entries[state][: last + 1].argmax())
        if state % 2:
            found[state // 2] = first, last
        last = first - 1
        skipped = last >= 0 and _may_skip(state, classes) and best[state - 2][last] > best[state - 1][last]
        state -= 2 if skipped else 1
    return found


def middles_of(places: Sequence[tuple[int, int]]) -> list[float]:
    """The columns of the line in the middles of classes that stand at these positions, as `spans` gives them."""
    return [FIRST + STEP * (first + last) / 2 for first, last in places]


def _may_skip(state: int, classes: Sequence[int]) -> bool:
    """Whether a class may follow another without "none" between them."""
    return state >= 3 and state % 2 == 1 and classes[state // 2] != classes[state // 2 - 1]
