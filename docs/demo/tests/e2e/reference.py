"""Every output of the page's networks by onnxruntime in Python: digits on stdin, outputs on stdout, both JSON.

In: [[784 pixels], …]. Out: {"lenet5_classic": [{"logits": […], "C1": […], …} per digit], "lenet5_modern": …}.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

MODELS = Path(__file__).parents[2] / "models"

pixels = np.array(json.load(sys.stdin), np.uint8).reshape(-1, 1, 28, 28)
answers = {}
for path in sorted(MODELS.glob("*.onnx")):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {"pixels": pixels})
    answers[path.stem] = [
        {name: value[i].ravel().tolist() for name, value in zip(names, values, strict=True)} for i in range(len(pixels))
    ]
json.dump(answers, sys.stdout)
