"""The networks. timm's registry gets both when timm is imported: `lenet_zoo/__init__.py` calls `register` then."""

import sys
from typing import Any

from lenet_zoo.models.lenet5_classic import CFGS as _CLASSIC
from lenet_zoo.models.lenet5_classic import LeNet5Classic, lenet5_classic
from lenet_zoo.models.lenet5_modern import CFGS as _MODERN
from lenet_zoo.models.lenet5_modern import LeNet5Modern, lenet5_modern

__all__ = ["CFGS", "LeNet5Classic", "LeNet5Modern", "lenet5_classic", "lenet5_modern", "register"]

CFGS = {**_CLASSIC, **_MODERN}


def register() -> None:
    """Register both networks and their tags with timm."""
    from timm.models import generate_default_cfgs, register_model

    for factory, cfgs in ((lenet5_classic, _CLASSIC), (lenet5_modern, _MODERN)):
        # Where register_model looks for them.
        module: Any = sys.modules[factory.__module__]
        module.default_cfgs = generate_default_cfgs({**cfgs})
        register_model(factory)
