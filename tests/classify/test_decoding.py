"""Texts and their probabilities, against every path there is."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from lenet_zoo.classify.decoding import beam_search, best_path, log_probability, spans


def answers(length: int, classes: int = 3, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).standard_normal((length, classes + 1)) * 2
    return raw - np.log(np.exp(raw).sum(1, keepdims=True))


def collapsed(path: tuple[int, ...], none: int) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != none)


def by_all_paths(rows: np.ndarray) -> dict[tuple[int, ...], float]:
    length, width = rows.shape
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(width), repeat=length):
        text = collapsed(path, width - 1)
        found[text] = found.get(text, 0.0) + math.exp(sum(rows[t, label] for t, label in enumerate(path)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_text_is_as_probable_as_all_its_paths_together(seed: int) -> None:
    rows = answers(6, seed=seed)
    texts = by_all_paths(rows)
    assert sum(texts.values()) == pytest.approx(1)
    assert {text for text in texts if len(text) > 2 and text[0] == text[1]}  # repeated classes are among them
    for text, probability in texts.items():
        assert log_probability(rows, text) == pytest.approx(math.log(probability), abs=1e-9)


def test_a_text_longer_than_the_line_has_no_path() -> None:
    rows = answers(3)
    assert log_probability(rows, (0, 1, 2, 0)) == -math.inf
    assert log_probability(rows, (1, 1, 1)) == -math.inf  # it needs "none" between
    with pytest.raises(ValueError, match="longer than the line"):
        spans(rows, (1, 1, 1))


def test_sums_stay_exact_along_a_long_line() -> None:
    """Every other position is certainly none, so that the probabilities of the digits between multiply."""
    with np.errstate(divide="ignore"):
        rows = np.log(np.tile([[0.9, 0.05, 0.05], [0.0, 0.0, 1.0]], (300, 1)))
    rows = np.maximum(rows, -700)
    assert log_probability(rows, (0,) * 300) == pytest.approx(300 * math.log(0.9))


@pytest.mark.parametrize("seed", range(5))
def test_the_beam_finds_the_likeliest_text(seed: int) -> None:
    rows = answers(6, seed=seed)
    texts = by_all_paths(rows)
    found = beam_search(rows, width=40)
    assert found[0].classes == max(texts, key=lambda text: texts[text])
    for path in found:
        assert math.exp(path.log_probability) == pytest.approx(texts[path.classes])
    assert [path.log_probability for path in found] == sorted((p.log_probability for p in found), reverse=True)


def in_logarithms(rows: np.ndarray, width: int) -> list[tuple[int, ...]]:
    """The beam search position by position, as it is told in words; the texts by what it finds of them."""
    none = rows.shape[1] - 1
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in rows:
        following: dict[tuple[int, ...], tuple[float, float]] = {}
        for prefix, (blank, digit) in beams.items():
            both = np.logaddexp(blank, digit)
            ways = [(prefix, both + row[none], digit + row[prefix[-1]] if prefix else -math.inf)]
            for label in np.flatnonzero(row[:none] > math.log(1e-4)).tolist():
                ways.append(((*prefix, label), -math.inf, (blank if prefix[-1:] == (label,) else both) + row[label]))
            for text, *logs in ways:
                known = following.get(text, (-math.inf, -math.inf))
                following[text] = (np.logaddexp(known[0], logs[0]), np.logaddexp(known[1], logs[1]))
        beams = dict(sorted(following.items(), key=lambda item: -np.logaddexp(*item[1]))[:width])
    return list(beams)


@pytest.mark.parametrize(("seed", "width"), [(0, 16), (1, 16), (2, 16), (3, 5), (4, 90)])
def test_the_beam_passes_stretches_where_nothing_is_likely_as_if_position_by_position(seed: int, width: int) -> None:
    rows, random = answers(60, classes=4, seed=seed), np.random.default_rng(seed)
    quiet = random.random(60) < 0.6
    rows[quiet] -= 16 * (np.arange(5) < 4)
    rows -= np.log(np.exp(rows).sum(1, keepdims=True))
    assert 20 < (rows[:, :4] < math.log(1e-4)).all(1).sum() < 50
    wanted = {text: log_probability(rows, text) for text in in_logarithms(rows, width)}
    found = beam_search(rows, width)
    assert {path.classes: path.log_probability for path in found} == pytest.approx(wanted)
    few = beam_search(rows, width, count=3)
    assert len(few) == 3
    assert few[0] == found[0]
    assert all(path in found for path in few)


def test_the_beam_does_not_fade_along_a_long_line() -> None:
    """2,000 positions that are each as unsure as can be: the probability of every text is below any float64."""
    rows = np.full((2000, 11), -math.log(11))
    found = beam_search(rows, width=4)
    assert len(found) == 4
    assert all(-math.inf < path.log_probability < -745 for path in found)


def test_the_beam_keeps_to_a_pattern() -> None:
    rows = answers(8, seed=2)
    found = beam_search(rows, 200, re.compile(r"\d{2}"))
    assert found
    assert all(len(path.classes) == 2 for path in found)
    texts = {text: p for text, p in by_all_paths(rows).items() if len(text) == 2}
    assert found[0].classes == max(texts, key=lambda text: texts[text])


def test_the_best_path_counts_repeats_once_and_none_not_at_all() -> None:
    path = [3, 1, 1, 3, 1, 0, 0, 3]
    rows = np.full((len(path), 4), -9.0)
    rows[np.arange(len(path)), path] = -0.01
    assert best_path(rows) == (1, 1, 0)
    assert spans(rows, (1, 1, 0)) == [(1, 2), (4, 4), (5, 6)]
    assert best_path(rows[:1]) == ()


@pytest.mark.parametrize("seed", range(4))
def test_spans_are_those_of_the_likeliest_path(seed: int) -> None:
    rows = answers(6, seed=seed)
    text = best_path(rows)
    found = spans(rows, text)
    best = rows.argmax(1)
    assert [tuple(np.flatnonzero(best == label)[[0, -1]]) for label in set(text) if text.count(label) == 1] == [
        place for label in set(text) if text.count(label) == 1 for place in [found[text.index(label)]]
    ]
    assert all(first <= last for first, last in found)


@pytest.mark.parametrize("seed", range(7, 12))
def test_spans_of_any_text_are_those_of_its_likeliest_path(seed: int) -> None:
    rows = answers(6, seed=seed)
    for text in ((), (0,), (1, 1), (2, 0)):
        paths = [path for path in itertools.product(range(4), repeat=6) if collapsed(path, 3) == text]
        best = max(paths, key=lambda path: rows[np.arange(6), path].sum())
        at, wanted = 0, []
        for label, group in itertools.groupby(best):
            end = at + len(list(group))
            wanted += [(at, end - 1)] if label != 3 else []
            at = end
        assert spans(rows, text) == wanted
