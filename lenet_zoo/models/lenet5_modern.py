"""LeNet-5 as it is taught today: 61,706 parameters.

Four choices of 1998 are dropped and the rest is kept: max pooling in place of trainable subsampling, ReLU in place of
the scaled tanh, a full C3 in place of the connection table, and a plain linear output in place of the Gaussian (RBF)
connections. Pictures are MNIST's 28×28, so C1 pads by 2.

Paper: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86(11), 1998.
"""

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lenet_zoo import cards
from lenet_zoo.models._base import LeNet5, asked_tag, build, check_keys, tag_cfg
from lenet_zoo.models.plain import chain, head

__all__ = ["LeNet5Modern"]


class LeNet5Modern(LeNet5):
    """LeNet-5 with ReLU, max pooling, a full C3 and a linear output.

    ```
    layer                                  output     parameters
    C1  conv 5×5, 1→6, padding 2, ReLU     6×28×28           156
    S2  max pooling 2×2                    6×14×14
    C3  conv 5×5, 6→16, ReLU               16×10×10        2,416
    S4  max pooling 2×2                    16×5×5
    C5  conv 5×5, 16→120, ReLU             120×1×1        48,120
    F6  linear 120→84, ReLU                84             10,164
    output  linear 84→10                   10                850
                                                          61,706
    ```

    Input: N×in_chans×28×28 or larger, pixels in [0, 1] with background 0 and ink 1. Output: logits N×num_classes.

    Args:
        num_classes: number of logits; 0 for no output layer.
        in_chans: channels of the pictures.
        global_pool: how C5's map is pooled when the input is larger than 28×28: 'avg', 'max', or '' for not at all.
        drop_rate: dropout before the output layer, during training.
        device, dtype: of every parameter.

    Raises:
        InputError: a value out of range; in `forward`, a batch of the wrong rank, size, channel count or dtype.
    """

    architecture = "lenet5_modern"
    layers: ClassVar[dict[str, tuple[str, ...]]] = {
        "C1": ("C1", "act1"),
        "S2": ("S2",),
        "C3": ("C3", "act3"),
        "S4": ("S4",),
        "C5": ("C5", "act5"),
    }

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 1,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, in_chans, global_pool, drop_rate, smallest_input=28)
        dd = dict(device=device, dtype=dtype)
        self.C1 = nn.Conv2d(in_chans, 6, 5, padding=2, **dd)
        self.act1 = nn.ReLU()
        self.S2 = nn.MaxPool2d(2)
        self.C3 = nn.Conv2d(6, 16, 5, **dd)
        self.act3 = nn.ReLU()
        self.S4 = nn.MaxPool2d(2)
        # A convolution, as in the paper, where the textbook has a linear layer on 400 inputs: the same 48,120 numbers,
        # and larger pictures work.
        self.C5 = nn.Conv2d(16, 120, 5, **dd)
        self.act5 = nn.ReLU()
        self.F6 = nn.Linear(120, 84, **dd)
        self.act6 = nn.ReLU()
        self.output = self.make_output(num_classes, **dd)

    @torch.jit.ignore
    def make_output(self, num_classes: int, device: Any = None, dtype: Any = None) -> nn.Module:
        return nn.Linear(84, num_classes, device=device, dtype=dtype) if num_classes > 0 else nn.Identity()

    @torch.jit.ignore
    def plain(self) -> nn.Sequential:
        own = copy.deepcopy(self).requires_grad_(False)
        layers = [(name, getattr(own, name)) for names in own.layers.values() for name in names]
        full = [("F6", own.F6), ("act6", own.act6), ("output", own.output)]
        return chain(layers + head(self.global_pool, full if self.num_classes else full[:2], self.C1.weight))

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.check(x)  # N × 1 × 28 × 28
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return self.forward_features_checkpointed(x)
        x = self.act1(self.C1(x))  # N × 6 × 28 × 28
        x = self.S2(x)  # N × 6 × 14 × 14
        x = self.act3(self.C3(x))  # N × 16 × 10 × 10
        x = self.S4(x)  # N × 16 × 5 × 5
        x = self.act5(self.C5(x))  # N × 120 × 1 × 1
        return x


# The reference implementation's names of the layers, as in state dicts that people have on disk → ours.
_REFERENCE_NAMES = {
    "conv_layer1.0": "C1",
    "conv_layer2.0": "C3",
    "C5_layer.0": "C5",
    "fc_layer1.0": "F6",
    "fc_layer2": "output",
}


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Accept the reference implementation's keys and a C5 stored as a linear layer (120×400).

    Raises: WeightsError when the weights are another network's.
    """
    out = {}
    for key, value in state_dict.items():
        module, _, kind = key.rpartition(".")
        out[f"{_REFERENCE_NAMES.get(module, module)}.{kind}"] = value
    check_keys(out, model, "lenet5_modern")
    if out["C5.weight"].shape == (120, 400):
        # The linear layer reads S4 flattened channel by channel, which is the kernel's own order.
        out["C5.weight"] = out["C5.weight"].view(120, 16, 5, 5)
    return out


# What timm's registry holds of each tag.
CFGS: dict[str, dict[str, Any]] = {
    "lenet5_modern.mnist": tag_cfg(LeNet5Modern, "mnist", cards.DIGITS, "MNIST, the best that training reached"),
    "lenet5_modern.handwriting": tag_cfg(
        LeNet5Modern,
        "handwriting",
        cards.DIGITS,
        "digits on paper, of MNIST's and of other writers, or none of these",
    ),
    "lenet5_modern.baseline_mnist": tag_cfg(
        LeNet5Modern, "baseline_mnist", cards.DIGITS, "MNIST, the textbook recipe: 20 epochs"
    ),
    "lenet5_modern.fashion_mnist": tag_cfg(
        LeNet5Modern, "fashion_mnist", cards.FASHION, "Fashion-MNIST: ten kinds of clothes"
    ),
    **{
        f"lenet5_modern.{script}": tag_cfg(
            LeNet5Modern, script, digits, f"CMATERdb: handwritten digits in {script.capitalize()}"
        )
        for script, digits in cards.SCRIPTS.items()
    },
    "lenet5_modern.numbers": tag_cfg(LeNet5Modern, "numbers", cards.NUMBERS, "lines of several digits"),
}


def lenet5_modern(pretrained: bool = False, **kwargs: Any) -> LeNet5Modern:
    """LeNet-5 with ReLU, max pooling and a linear output: 61,706 parameters (see `LeNet5Modern`)."""
    if asked_tag("lenet5_modern", kwargs) == "numbers":
        kwargs.setdefault("global_pool", "")  # it answers at every position of a line
    model = build(LeNet5Modern, "lenet5_modern", pretrained, pretrained_filter_fn=checkpoint_filter_fn, **kwargs)
    return model  # type: ignore[return-value]
