"""What transformers asks of us: how pictures are prepared. It is imported with its `AutoImageProcessor`.

transformers runs our networks through its wrapper of timm, whose own processor gives every network three channels: its
`pipeline` reads pictures in colour, and timm's transform leaves them so.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoImageProcessor
from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig
from transformers.models.timm_wrapper.image_processing_timm_wrapper import TimmWrapperImageProcessor

from lenet_zoo.registry import transform_of

__all__ = ["LeNetConfig", "LeNetImageProcessor"]


class LeNetConfig(TimmWrapperConfig):
    """The key under which transformers keeps our processor; a folder's config stays the wrapper's."""

    model_type = "lenet_zoo"


class LeNetImageProcessor(TimmWrapperImageProcessor):
    """`lenet_zoo.create_transform` for transformers: pictures to `pixel_values`, float32 N×C×H×W.

    A picture is a PIL image, an array or a tensor, bright ink on a dark ground. For training, `train_transforms` are
    timm's.
    """

    def __init__(self, pretrained_cfg: dict[str, Any], architecture: str | None = None, **kwargs: Any) -> None:
        super().__init__(pretrained_cfg, architecture, **kwargs)
        self.val_transforms = transform_of(self.data_config, self.data_config["input_size"])
        self._not_supports_tensor_input = True  # they become PIL images first


AutoImageProcessor.register(LeNetConfig, slow_image_processor_class=LeNetImageProcessor)
