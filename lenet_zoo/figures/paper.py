"""What two figures of the paper show, as numbers."""

from __future__ import annotations

from pathlib import Path

from lenet_zoo import paper1998

__all__ = ["paper_fig5", "paper_fig8"]


def paper_fig5() -> list[tuple[int, float, float]]:
    """Fig. 5 of the paper, training without distortions: (pass, test error in %, training error in %)."""
    return [(int(n), float(test), float(train)) for n, test, train in _table("fig5_errors.txt")]


def paper_fig8() -> dict[int, tuple[int, int]]:
    """Fig. 8 of the paper, the 82 test digits that its network got wrong: index → (label, the network's answer)."""
    return {int(index): (int(label), int(answer)) for index, label, answer in _table("fig8_mistakes.txt")}


def _table(name: str) -> list[list[str]]:
    lines = Path(paper1998.__path__[0], name).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]
