"""LeNet-5 as a model zoo: the network of 1998 and its modern form, with weights, for timm, torch and onnxruntime.

Importing this package costs no torch. The public names below load on first use; both networks are in timm's registry as
soon as this package and timm are both imported, in either order.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lenet_zoo._version import __version__

if TYPE_CHECKING:
    from lenet_zoo.classify import OnnxClassifier as OnnxClassifier
    from lenet_zoo.classify.reader import OnnxReader as OnnxReader
    from lenet_zoo.export import export as export
    from lenet_zoo.export import export_onnx as export_onnx
    from lenet_zoo.finetuning import finetune as finetune
    from lenet_zoo.pictures.character import digit_from_image as digit_from_image
    from lenet_zoo.registry import create_model as create_model
    from lenet_zoo.registry import create_transform as create_transform
    from lenet_zoo.registry import list_models as list_models
    from lenet_zoo.registry import model_card as model_card
    from lenet_zoo.tags import read as read

# name → the module that defines it
_PUBLIC = {
    "create_model": "lenet_zoo.registry",
    "create_transform": "lenet_zoo.registry",
    "list_models": "lenet_zoo.registry",
    "model_card": "lenet_zoo.registry",
    "digit_from_image": "lenet_zoo.pictures.character",
    "export": "lenet_zoo.export",
    "export_onnx": "lenet_zoo.export",
    "finetune": "lenet_zoo.finetuning",
    "OnnxClassifier": "lenet_zoo.classify",
    "OnnxReader": "lenet_zoo.classify.reader",
    "read": "lenet_zoo.tags",
}

__all__ = ["__version__", *_PUBLIC]


class _After:
    """A finder that imports a module of ours after one of another package, so that importing us costs no torch."""

    def __init__(self, theirs: str) -> None:
        self.theirs = theirs

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.theirs:
            return None
        others = (finder for finder in sys.meta_path if not isinstance(finder, _After) and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            # Many packages only ask where a module is, so the finder stays until the module is there.
            def exec_module(module: Any) -> None:
                load(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                    _add_to(self.theirs)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _add_to(theirs: str) -> None:
    """Register our part with another package."""
    if theirs == "timm":
        importlib.import_module("lenet_zoo.models").register()
        return
    with suppress(ImportError):  # an old transformers, without the wrapper of timm, goes on without us
        importlib.import_module("lenet_zoo._transformers")


for _theirs in ("timm", "transformers.models.auto.image_processing_auto"):
    if _theirs in sys.modules:
        _add_to(_theirs)
    else:
        sys.meta_path.insert(0, _After(_theirs))


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lenet_zoo' has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    # `lenet_zoo.export` is the function and the part alike: the part can be called.
    value = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
