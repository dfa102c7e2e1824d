"""The random streams of a run: one for each purpose, so that one seed is enough and no two draws are the same."""

from __future__ import annotations

import torch

__all__ = ["CURVATURE", "DISTORT", "INIT", "ORDER", "generator"]

INIT, ORDER, DISTORT, CURVATURE = range(4)


def generator(seed: int, purpose: int) -> torch.Generator:
    """The stream of `purpose`, one of the constants above."""
    return torch.Generator().manual_seed(4 * seed + purpose)
