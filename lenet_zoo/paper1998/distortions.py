"""The distorted pictures of 1998, by which the training set becomes ten times as large (Fig. 7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lenet_zoo.paper1998.streams import DISTORT, generator

__all__ = ["Distortions"]


@dataclass(frozen=True)
class Distortions:
    """The enlarged training set: the originals, and `copies` distorted versions of each (Fig. 7).

    Planar affine maps: shift, scaling, squeezing, horizontal shear. The paper prints no magnitudes; these were measured
    on the hundred pictures of its Fig. 7. With n originals, picture i of the n · (1 + copies) is original i mod n,
    distorted when i ≥ n; its distortion depends on the seed and on i alone.

    Args:
        copies: distorted pictures per original; the paper has 540,000 for 60,000.
        shift: largest shift in x and in y, in pixels.
        scale: smallest and largest scale.
        aspect: smallest and largest ratio of the scale in x to that in y.
        slant: largest horizontal shear, in pixels of x per pixel of y.
    """

    copies: int = 9
    shift: float = 2.0
    scale: tuple[float, float] = (0.73, 1.36)
    aspect: tuple[float, float] = (0.81, 1.22)
    slant: float = 0.19

    def draw(self, seed: int, count: int) -> Tensor:
        """`count` draws in ±1 for shift x, shift y, scale, aspect and slant: count × 5."""
        # Our choice: normal, the limits being 2.5 standard deviations. The slants of Fig. 7 reach ±0.19 with a standard
        # deviation of 0.08, which is this and not uniform.
        return (torch.randn((count, 5), generator=generator(seed, DISTORT)) / 2.5).clamp(-1, 1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Distort each picture by its own draw.

        Args:
            images: float N×H×H in [0, 1], background 0.
            draws: N×5 in ±1, as from `draw`.

        Returns: float N×H×H in [0, 1].
        """
        shift_x, shift_y, scale, aspect, slant = draws.unbind(1)
        scale = self.scale[0] * (self.scale[1] / self.scale[0]) ** ((scale + 1) / 2)
        aspect = self.aspect[0] * (self.aspect[1] / self.aspect[0]) ** ((aspect + 1) / 2)
        scale_x, scale_y = scale * aspect.sqrt(), scale / aspect.sqrt()
        slant = slant * self.slant
        # A point moves to x' = scale_x x + slant y' + shift_x, y' = scale_y y + shift_y, around the centre of the
        # picture. grid_sample asks where each pixel comes from, so this is the inverse, in units of half a picture.
        unit = 2 * self.shift / images.shape[-1]
        zero = torch.zeros_like(slant)
        inverse = torch.stack([1 / scale_x, -slant / scale_x, zero, zero, 1 / scale_y, zero], dim=1).view(-1, 2, 3)
        moved = torch.stack([shift_x, shift_y], dim=1).unsqueeze(2) * unit
        inverse[:, :, 2:] = -inverse[:, :, :2] @ moved
        grid = F.affine_grid(inverse, [len(images), 1, *images.shape[1:]], align_corners=False)
        return F.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)
