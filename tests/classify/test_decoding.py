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


def test_spans_of_any_text_are_those_of_its_likeliest_path() -> None:
    rows = answers(6, seed=7)
    for text in ((), (0,), (1, 1), (2, 0)):
        paths = [path for path in itertools.product(range(4), repeat=6) if collapsed(path, 3) == text]
        best = max(paths, key=lambda path: rows[np.arange(6), path].sum())
        at, wanted = 0, []
        for label, group in itertools.groupby(best):
            end = at + len(list(group))
            wanted += [(at, end - 1)] if label != 3 else []
            at = end
        assert spans(rows, text) == wanted
