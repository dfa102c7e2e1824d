"""Write the pictures that set int8's ranges: the first 20 of every class of MNIST's and Fashion-MNIST's training sets.

python tools/make_calibration.py                  # data from LENET_ZOO_DATA → lenet_zoo/export/calibration.npz
"""

import io
from pathlib import Path

import numpy as np

from lenet_zoo._files import write_atomic
from lenet_zoo.datasets.loading import load_dataset

PER_CLASS = 20
TARGET = Path(__file__).parents[1] / "lenet_zoo" / "export" / "calibration.npz"

chosen = {}
for name in ("mnist", "fashion_mnist"):
    data = load_dataset(name, train=True)
    labels = data.labels.numpy()
    first = [np.flatnonzero(labels == label)[:PER_CLASS] for label in range(len(data.classes))]
    # In the order of the training set, so that any part of the file holds every class.
    chosen[name] = data.images.numpy()[np.sort(np.concatenate(first))]
stream = io.BytesIO()
np.savez_compressed(stream, **chosen)
write_atomic(TARGET, stream.getvalue())
