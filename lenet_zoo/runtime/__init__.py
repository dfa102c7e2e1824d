"""Answers from an exported file: onnxruntime, numpy and pillow, never torch."""

from lenet_zoo.runtime.classifier import Candidate, OnnxClassifier, Prediction
from lenet_zoo.runtime.onnx_file import read_metadata

__all__ = ["Candidate", "OnnxClassifier", "Prediction", "read_metadata"]
