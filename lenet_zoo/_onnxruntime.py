"""onnxruntime, imported in one place, and kept from reporting what it runs."""

from __future__ import annotations

import os
from types import ModuleType

__all__ = ["load_onnxruntime"]


def load_onnxruntime() -> ModuleType:
    """The module onnxruntime.

    Its newer versions report their use to their maker, and warn on stderr where the user's home cannot be written. Both
    are off unless the user set ORT_DISABLE_TELEMETRY, or imported it before.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
