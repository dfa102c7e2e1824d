"""What int8 costs: both networks in both precisions on MNIST's test set → docs/data/precision.json.

python tools/measure_precision.py        # MNIST from LENET_ZOO_DATA
"""

import json
import tempfile
from pathlib import Path

import lenet_zoo
from lenet_zoo._files import write_atomic
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.registry import resolve

data = load_dataset("mnist", train=False)
rows = []
for name in lenet_zoo.list_models():
    answers = {}
    for precision in ("fp32", "int8"):
        with tempfile.TemporaryDirectory() as folder:
            model = lenet_zoo.create_model(name, pretrained=True)
            path = lenet_zoo.export_onnx(model, Path(folder) / "m.onnx", input="pixels", precision=precision)
            answers[precision] = lenet_zoo.OnnxClassifier(path).predict_logits(data.images.numpy()).argmax(1)
            rows.append(
                {
                    "name": resolve(name),
                    "precision": precision,
                    "bytes": path.stat().st_size,
                    "correct": int((answers[precision] == data.labels.numpy()).sum()),
                    "same": int((answers[precision] == answers["fp32"]).sum()),
                    "total": len(data),
                }
            )
        print(rows[-1])
write_atomic(Path(__file__).parents[1] / "docs" / "data" / "precision.json", json.dumps(rows, indent=1) + "\n")
