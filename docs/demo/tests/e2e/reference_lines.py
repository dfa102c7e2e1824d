"""What lenet_zoo reads with the page's network for numbers on tests/fixtures/lines, as JSON on stdout.

{"dark_on_light.png": [{"text": "20718", "confidence": …, "boxes": […]} per line], …}; an empty list for no line.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from lenet_zoo.cards import Confidence
from lenet_zoo.classify.reader import Reader
from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.line import lines_from_image

HERE = Path(__file__).resolve()
FIXTURES = HERE.parents[4] / "tests" / "fixtures" / "lines"


class PageReader(Reader):
    """Reads with the page's file, which has no date and so is none of `OnnxReader`'s."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        confidence = json.loads(self.session.get_modelmeta().custom_metadata_map.get("confidence", "null"))
        card: Any = SimpleNamespace(confidence=Confidence(**confidence) if confidence else None)
        self.card = card

    def answers(self, strips: np.ndarray) -> np.ndarray:
        (logits,) = self.session.run(["logits"], {"pixels": strips[:, None]})
        return np.asarray(logits[:, :, 0])


reader = PageReader(HERE.parents[2] / "models" / "lenet5_numbers.onnx")
found: dict[str, list[dict[str, Any]]] = {}
for picture in sorted(FIXTURES.glob("*.png")):
    try:
        readings = [reader.read_strip(strip) for strip in lines_from_image(picture)]
    except NoDigitError:
        readings = []
    found[picture.name] = [
        dict(text=one.text or "", confidence=one.confidence, boxes=[each.box for each in one.characters])
        for one in readings
    ]
json.dump(found, sys.stdout)
