"""The networks. Importing this package registers both with timm."""

from lenet_zoo.models.lenet5_classic import LeNet5Classic, lenet5_classic
from lenet_zoo.models.lenet5_modern import LeNet5Modern, lenet5_modern

__all__ = ["LeNet5Classic", "LeNet5Modern", "lenet5_classic", "lenet5_modern"]
