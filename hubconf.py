"""Both networks for torch.hub: `torch.hub.load(".", "lenet5_modern", source="local", pretrained=True)`."""

from typing import Any

from torch import nn

from lenet_zoo import create_model as _create_model

# What torch.hub looks for before it loads anything from this file.
dependencies = ["torch", "torchvision", "timm", "safetensors"]


def _create(architecture: str, pretrained: bool, tag: str | None, **kwargs: Any) -> nn.Module:
    return _create_model(f"{architecture}.{tag}" if tag else architecture, pretrained=pretrained, **kwargs)


def lenet5_classic(pretrained: bool = False, tag: str | None = None, **kwargs: Any) -> nn.Module:
    """LeNet-5 as printed in 1998, 60,000 parameters: float N×1×28×28 in [−0.1, 1.175] → logits N×10.

    Args:
        pretrained: load the weights of `tag`.
        tag: one of the architecture's tags, such as 'mnist'; None for the default.
        **kwargs: as in `lenet_zoo.create_model`.
    """
    return _create("lenet5_classic", pretrained, tag, **kwargs)


def lenet5_modern(pretrained: bool = False, tag: str | None = None, **kwargs: Any) -> nn.Module:
    """LeNet-5 with ReLU, max pooling and a linear output, 61,706 parameters: float N×1×28×28 in [0, 1] → logits N×10.

    Args:
        pretrained: load the weights of `tag`.
        tag: one of the architecture's tags, such as 'mnist' or 'baseline_mnist'; None for the default.
        **kwargs: as in `lenet_zoo.create_model`.
    """
    return _create("lenet5_modern", pretrained, tag, **kwargs)
