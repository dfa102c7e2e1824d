"""Pictures to labels, by an exported file (here, without torch) or by a network in torch (`classify.torch`)."""

from lenet_zoo.classify.answers import Candidate, Classifier, Prediction
from lenet_zoo.classify.onnx import OnnxClassifier
from lenet_zoo.classify.onnx_file import read_metadata

__all__ = ["Candidate", "Classifier", "OnnxClassifier", "Prediction", "read_metadata"]
