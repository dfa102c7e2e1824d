"""The two losses of the 1998 paper (p. 9), for logits z = −y, y being the RBF penalties.

Both take logits (N × classes, float) and class indices (N, int64) and return the mean over the patterns, a scalar.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lenet_zoo.errors import InputError

__all__ = ["MAPLoss", "PenaltyLoss"]


class PenaltyLoss(nn.Module):
    """Eq. 8: E = mean of y_right, the penalty of the right class; ≥ 0 for an RBF output.

    Nothing pushes the wrong classes away. That is sound only while the RBF centres are fixed: if they could move, all
    could meet in one point with E = 0 (p. 9).
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return -logits.gather(1, target.unsqueeze(1)).mean()


class MAPLoss(nn.Module):
    """Eq. 9: E = mean of y_right + log(e^{−j} + Σ_i e^{−y_i}), the sum running over all classes; ≥ 0.

    In logits it is the cross-entropy over the classes and one more, "rubbish", whose logit is always −j. The rubbish
    class bounds the pull on wrong classes that are already far away.

    Args:
        j: positive and finite; the paper prints no value.

    Raises:
        InputError: j is not a positive, finite number.
    """

    def __init__(self, j: float = 1.0) -> None:
        super().__init__()
        if not (math.isfinite(j) and j > 0):
            raise InputError(f"j={j}: the rubbish class of Eq. 9 takes a positive, finite penalty")
        self.j = float(j)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        rubbish = torch.full_like(logits[:, :1], -self.j)
        return nn.functional.cross_entropy(torch.cat([logits, rubbish], dim=1), target)

    def extra_repr(self) -> str:
        return f"j={self.j:g}"
