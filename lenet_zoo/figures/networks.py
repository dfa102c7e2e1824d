"""The numbers that are drawn, taken out of a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_zoo.errors import InputError, WeightsError

if TYPE_CHECKING:
    from torch import nn

    from lenet_zoo.models._base import LeNet5

__all__ = ["bitmaps", "has_bitmaps", "input_side", "kernels", "layer_states"]


def kernels(model: nn.Module) -> dict[str, np.ndarray]:
    """The kernels of C1 (6×channels×5×5) and C3 (16×6×5×5) as float32; NaN where Table I has no connection.

    Raises: InputError for a module that is not a network of the zoo.
    """
    import torch

    from lenet_zoo.models import LeNet5Classic

    network = _network(model)
    c3: Any = network.C3
    if isinstance(network, LeNet5Classic):
        absent = torch.ones(16 * 6, dtype=torch.bool)
        absent[network.C3.connection.cpu()] = False
        kernels = network.C3.dense_weight().cpu().masked_fill(absent.view(16, 6, 1, 1), math.nan)
    else:
        kernels = c3.weight.cpu()
    return {"C1": network.C1.weight.detach().float().cpu().numpy(), "C3": kernels.detach().float().numpy()}


def layer_states(model: nn.Module, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What every layer makes of one picture, after its squashing function.

    Args:
        model: a network of the zoo; its own cfg normalises the pixels.
        pixels: uint8, 28×28 (0 background, 255 ink), which every channel gets; or channels×28×28 for a network in
            colour. A classic network without padding takes 32×32.

    Returns: 'input', the pixels; float32 C1 6×28×28, S2 6×14×14, C3 16×10×10, S4 16×5×5, C5 120, F6 84; 'output', the
        logits.

    Raises: InputError for a module that is not a network of the zoo, and for pixels of another shape or dtype;
    WeightsError for states that are not finite.
    """
    import torch

    from lenet_zoo.classify.torch import normalized

    network = _network(model)
    channels, side = network.in_chans, network.smallest_input
    if pixels.dtype != np.uint8 or pixels.shape not in ((side, side), (channels, side, side)):
        colour = f" or {channels}×{side}×{side}" if channels > 1 else ""
        raise InputError(
            f"a picture of shape {pixels.shape} and dtype {pixels.dtype}: give one of {side}×{side}{colour} in uint8"
        )
    x = normalized(network, torch.from_numpy(pixels)[None])
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            features, layers = network.forward_intermediates(x)
            hidden = network.forward_head(features, pre_logits=True)
            tensors = dict(zip(("C1", "S2", "C3", "S4", "C5"), layers, strict=True))
            tensors |= {"F6": hidden, "output": network.forward_head(features)}
    finally:
        network.train(was_training)
    found = {name: tensor[0].float().cpu().numpy() for name, tensor in tensors.items()}
    for name, state in found.items():
        if not np.isfinite(state).all():
            raise WeightsError(f"{name} has values that are not finite: the network's weights may be damaged")
    found["C5"] = found["C5"].reshape(-1)
    return {"input": pixels, **found}


def bitmaps(model: nn.Module) -> np.ndarray:
    """The output layer's codes, classes×84 float32 of ±1.

    Raises: InputError for a network without an RBF output.
    """
    if not has_bitmaps(model):
        raise InputError("F6 is compared with bitmaps in lenet5_classic alone: `maps` shows F6 of any network")
    codes: Any = _network(model).output.weight
    return codes.float().cpu().numpy()


def has_bitmaps(model: nn.Module) -> bool:
    """Whether a network has an RBF output, so that its logits are negative squared distances of F6 to codes.

    Raises: InputError for a module that is not a network of the zoo.
    """
    from lenet_zoo.models.lenet5_classic import RBF

    return isinstance(_network(model).output, RBF)


def input_side(model: nn.Module) -> int:
    """Height and width, in pixels, of what C1's kernels sweep, with the border that the classic network adds.

    Raises: InputError for a module that is not a network of the zoo.
    """
    from lenet_zoo.models import LeNet5Classic

    network = _network(model)
    border = network.pad.padding[0] if isinstance(network, LeNet5Classic) else 0
    return network.smallest_input + 2 * border


def _network(model: nn.Module) -> LeNet5:
    from lenet_zoo.models._base import LeNet5

    if not isinstance(model, LeNet5):
        raise InputError(f"the figures are of the zoo's networks, not of {type(model).__name__}")
    return model
