"""Pictures to labels with a network in torch, in and out of the wrappers that people put it into."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import lenet_zoo
from lenet_zoo.classify.torch import TorchClassifier, logits_of
from lenet_zoo.errors import InputError
from lenet_zoo.export.calibration import bundled


@pytest.mark.parametrize("name", ["lenet5_classic", "lenet5_modern"])
def test_a_network_in_a_wrapper_answers_as_without(name: str) -> None:
    model = lenet_zoo.create_model(name, pretrained=True)
    digits = bundled("mnist")[:8]
    alone = TorchClassifier(model)
    for wrapped in (torch.compile(model, backend="eager"), nn.DataParallel(model)):
        classifier = TorchClassifier(wrapped)
        assert classifier.card == alone.card
        np.testing.assert_array_equal(classifier.predict_logits(digits), alone.predict_logits(digits))


def test_another_module_is_refused_by_its_name() -> None:
    plain = lenet_zoo.create_model("lenet5_modern").plain()
    with pytest.raises(InputError, match=r"^a Sequential is no network of the zoo: take one of create_model$"):
        TorchClassifier(plain)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (dict(num_classes=0), r"^the network has no output layer \(num_classes=0\): there is no label to give$"),
        (dict(global_pool=""), r"^the network answers at every position \(global_pool=''\): call it yourself$"),
    ],
)
def test_a_network_without_one_answer_is_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        TorchClassifier(lenet_zoo.create_model("lenet5_classic", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(28, 28), (2, 3, 28, 28), (1, 1, 1, 28, 28)])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    logits = logits_of(lenet_zoo.create_model("lenet5_modern"))
    with pytest.raises(InputError, match=r"^pixels of shape \(.*\): give N×H×W, or N×1×H×W$"):
        logits(np.zeros(shape, np.uint8))
