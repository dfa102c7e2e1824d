"""Every output of the page's networks by onnxruntime in Python: digits on stdin, outputs on stdout, both JSON.

In: [{"pixels": [784], "atEdge": …}, …]. Out: {"lenet5_classic": [{"logits": […], "C1": […], …} per digit],
"lenet5_modern": …}; among them the probabilities by the confidence and the looks in the file's metadata, and "label":
what lenet_zoo answers at half certainty, or null for none.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from lenet_zoo.cards import Confidence
from lenet_zoo.classify.confidence import none_of_these, probabilities
from lenet_zoo.classify.looks import mean_logits

MODELS = Path(__file__).parents[2] / "models"
LEAST = 0.5

readings = json.load(sys.stdin)
pixels = np.array([reading["pixels"] for reading in readings], np.uint8).reshape(-1, 1, 28, 28)
at_edge = np.array([reading["atEdge"] for reading in readings], np.bool_)
answers = {}
for name in ("lenet5_classic", "lenet5_modern"):
    session = onnxruntime.InferenceSession(MODELS / f"{name}.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs() if not output.name.endswith(".weight")]
    values = session.run(names, {"pixels": pixels})
    answers[name] = [
        {key: value[i].ravel().tolist() for key, value in zip(names, values, strict=True)} for i in range(len(pixels))
    ]
    known = session.get_modelmeta().custom_metadata_map
    logits = mean_logits(
        lambda look, run=session.run: run(["logits"], {"pixels": np.ascontiguousarray(look)})[0],  # type: ignore[misc]
        pixels,
        int(known.get("looks", 1)),
    )
    rows = probabilities(logits, Confidence(**json.loads(known["confidence"])), at_edge)
    refused = none_of_these(rows) | (rows.max(axis=1) < LEAST)
    for answer, row, none in zip(answers[name], rows, refused, strict=True):
        answer["label"] = None if none else int(row.argmax())
        answer["probabilities"] = row.tolist()
json.dump(answers, sys.stdout)
