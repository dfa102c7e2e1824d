"""A probability is right as often as it says, the same in numpy, in the ONNX file, in predict and in score."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.cards import Card, Confidence
from lenet_zoo.classify import OnnxClassifier, read_metadata
from lenet_zoo.classify.answers import Classifier
from lenet_zoo.classify.confidence import calibration_error, fitted_temperature, none_of_these, probabilities, refusal
from lenet_zoo.classify.torch import TorchClassifier, logits_of
from lenet_zoo.cli._app import run
from lenet_zoo.cli.zoo import _answer
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import ArtifactError, InputError, WeightsError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.export import verification
from lenet_zoo.export.calibration import bundled
from lenet_zoo.finetuning.results import _confidence
from lenet_zoo.models._card import attach
from lenet_zoo.scoring.answering import put_answers
from lenet_zoo.scoring.parts import Rows

MNIST_TAGS = [name for name in cards.names() if cards.load(name).dataset == "mnist"]
RUBBISH = Confidence(2.0, 3.0, "a test's own pictures")


# ---------------------------------------------------------------------------------------------- logits → probabilities


def test_the_temperature_divides_the_logits() -> None:
    logits = np.log(np.array([[1.0, 2.0, 1.0]]))
    np.testing.assert_allclose(probabilities(logits.copy()), [[0.25, 0.5, 0.25]])
    # At half the temperature the odds are squared: 1 : 4 : 1.
    np.testing.assert_allclose(probabilities(logits.copy(), Confidence(0.5)), [[1 / 6, 4 / 6, 1 / 6]])


def test_the_rubbish_class_is_that_of_equation_9() -> None:
    y, j = np.array([[1.0, 2.0], [4.0, 5.0]]), 3.0
    for t in (1.0, 2.0):
        wanted = np.exp(-y / t) / (np.exp(-j / t) + np.exp(-y / t).sum(axis=1, keepdims=True))
        found = probabilities(-y, Confidence(t, j))
        np.testing.assert_allclose(found, wanted)
        assert none_of_these(found).tolist() == [False, True]
        assert (found.sum(axis=1) < 1).all()


def test_large_logits_do_not_overflow() -> None:
    found = probabilities(np.array([[-1000.0, -1400.0], [1000.0, 0.0]], np.float32), Confidence(0.5, 10.0))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 0], [1, 0]])
    assert none_of_these(found).tolist() == [True, False]


def test_without_a_rubbish_class_nothing_is_none_of_these() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32)
    assert not none_of_these(probabilities(logits)).any()
    assert not none_of_these(np.array([[np.nan, 0.5]])).any()  # that is said in other words


# ---------------------------------------------------------------------------------------------- measuring and fitting


def test_the_calibration_error_is_the_mean_gap_of_fifteen_bins() -> None:
    # Two bins: 0.9 and 0.9 with one right; 0.5, 0.5, 0.5 and 0.5 with three right.
    sure, right = np.array([0.9, 0.9, 0.5, 0.5, 0.5, 0.5]), np.array([True, False, True, True, True, False])
    assert calibration_error(sure, right) == pytest.approx((abs(1.8 - 1) + abs(2 - 3)) / 6)
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_the_fitted_temperature_makes_answers_as_sure_as_they_are_right() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 10)) * 3
    for correct, j in ((300, None), (490, None), (450, 4.0)):
        answered = logits[logits.max(1) >= -j] if j else logits
        temperature = fitted_temperature(logits, correct, 500, j)
        sure = probabilities(answered.copy(), Confidence(temperature, j)).max(1).mean()
        assert sure == pytest.approx((correct + 1) / 502, abs=1e-9)


def test_the_temperature_of_a_network_that_is_always_right_is_finite() -> None:
    assert 0.01 <= fitted_temperature(np.eye(10) * 5, 10, 10) <= 100
    assert 0.01 <= fitted_temperature(np.zeros((10, 10)), 10, 10) <= 100


def test_evaluate_measures_by_the_cards_confidence(digits: Dataset) -> None:
    few = replace(digits, images=digits.images[:4], labels=digits.labels[:4])  # 0, 1, 2, 3
    logits = np.full((4, 10), -20.0)
    logits[[0, 1, 2, 3], [0, 1, 2, 9]] = -1
    logits[3] -= 2.5  # its best penalty is 3.5, above j
    before = logits.copy()
    plain, found = evaluate(lambda _: logits, few), evaluate(lambda _: logits, few, Confidence(1.0, 3.0))
    np.testing.assert_array_equal(logits, before)
    assert (plain.none_of_these, found.none_of_these) == (0, 1)
    assert (plain.correct, found.correct, plain.loss) == (3, 3, found.loss)
    assert plain.calibration_error == pytest.approx(0.25, abs=1e-6)
    sure = 1 / (1 + math.exp(-2))  # e^-1 / (e^-1 + e^-3)
    assert found.calibration_error == pytest.approx(1 - sure, abs=1e-6)
    assert found.as_dict()["calibration_error"] == found.calibration_error


@pytest.mark.parametrize("name", MNIST_TAGS)
def test_shipped_digits_are_as_sure_as_they_are_right(name: str, mnist_test: Dataset) -> None:
    model: Any = lenet_zoo.create_model(name, pretrained=True)
    assert model.card.confidence.fitted_on.startswith("the last 10,000 training pictures")
    found = evaluate(logits_of(model), mnist_test, model.card.confidence)
    assert found.calibration_error <= 0.005
    if model.card.confidence.j is None:
        assert found.none_of_these == 0
    else:
        assert 200 < found.none_of_these < 600


@pytest.mark.parametrize("name", ["lenet5_classic.handwriting", "lenet5_modern.handwriting"])
def test_the_tags_for_handwriting_keep_99_of_100_digits(name: str, mnist_test: Dataset) -> None:
    model: Any = lenet_zoo.create_model(name, pretrained=True)
    found = evaluate(logits_of(model), mnist_test, model.card.confidence)
    assert found.calibration_error <= 0.01  # fitted also to writers unlike MNIST's
    assert 50 < found.none_of_these < 150


# ------------------------------------------------------------------------------------------------------------- the card


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "hot", None])
def test_a_temperature_is_a_finite_number_above_0(value: Any) -> None:
    with pytest.raises(InputError, match=r"^its confidence has temperature .*, and must have a finite number above 0$"):
        Confidence(value)
    with pytest.raises(WeightsError, match=r"^the card is damaged: its confidence has temperature [^\n]*above 0$"):
        Card.parse({"confidence": {"temperature": value}}, "the card")
    if value is not None:
        with pytest.raises(InputError, match=r"its confidence has j .*, and must have a finite number above 0"):
            Confidence(1.0, value)


@pytest.mark.parametrize(
    ("confidence", "says"),
    [
        (0.5, "its 'confidence' is 0.5, and must be an object"),
        ({}, "its confidence {} must hold temperature and, if known, j, edge_temperature and fitted_on"),
        ({"temperature": 1, "scale": 2}, "must hold temperature and, if known, j, edge_temperature and fitted_on"),
        ({"temperature": 1, "fitted_on": 5}, "its confidence was fitted on 5, and must say so in a text"),
    ],
)
def test_a_damaged_confidence_is_one_clear_line(confidence: Any, says: str) -> None:
    with pytest.raises(WeightsError) as error:
        Card.parse({"confidence": confidence}, "the card")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_card_keeps_its_confidence_and_an_old_one_has_none() -> None:
    card = Card.parse({"confidence": RUBBISH.as_dict()}, "the card")
    assert card.confidence == RUBBISH
    assert card.as_dict()["confidence"] == {"temperature": 2.0, "j": 3.0, "fitted_on": "a test's own pictures"}
    assert card.without_claims().confidence is None  # other weights have another temperature
    assert Card.parse({}, "the card").confidence is None


# ---------------------------------------------------------------------------------------------------- files and answers


def with_confidence(name: str, confidence: Confidence | None) -> Any:
    """The shipped network, saying that it has this confidence."""
    model: Any = lenet_zoo.create_model(name, pretrained=True)
    attach(model, replace(model.card, confidence=confidence))
    return model


@pytest.mark.parametrize(
    ("precision", "confidence"), [("fp32", None), ("fp32", Confidence(0.5)), ("fp32", RUBBISH), ("int8", RUBBISH)]
)
@pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic.lecun1998_mnist"])
def test_the_file_says_what_numpy_says(
    name: str, precision: str, confidence: Confidence | None, tmp_path: Path, digits: Dataset
) -> None:
    model, pixels = with_confidence(name, confidence), digits.images[:60].numpy()
    path = lenet_zoo.export_onnx(model, tmp_path / "m.onnx", input="pixels", precision=precision, probabilities=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in (1, 60):
        logits, found = session.run(["logits", "probabilities"], {"pixels": pixels[:size, None]})
        np.testing.assert_allclose(found, probabilities(logits.copy(), confidence), atol=1e-6)
    classifier = OnnxClassifier(path)
    assert classifier.card.confidence == confidence
    assert read_metadata(path).get("confidence") == (confidence.as_dict() if confidence else None)
    np.testing.assert_allclose(classifier.predict_array(pixels), found, atol=1e-5)
    if precision == "fp32":
        np.testing.assert_allclose(TorchClassifier(model).predict_array(pixels), found, atol=1e-3)


def test_a_file_from_before_answers_by_the_plain_softmax(exported: Any, tmp_path: Path) -> None:
    model = onnx.load(exported(input="pixels"))
    assert "confidence" not in {one.key for one in model.metadata_props}
    classifier, pixels = OnnxClassifier(exported(input="pixels")), np.zeros((1, 28, 28), np.uint8)
    np.testing.assert_array_equal(classifier.predict_array(pixels), probabilities(classifier.predict_logits(pixels)))


@pytest.mark.parametrize("text", ["0.5", "[]", '{"temperature": 0}', '{"temperature": NaN}', '{"temperature": "1"}'])
def test_a_file_with_a_damaged_confidence_is_refused(text: str, exported: Any, tmp_path: Path) -> None:
    model = onnx.load(exported(input="pixels"))
    model.metadata_props.add(key="confidence", value=text)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"m\.onnx is damaged: its [^\n]*confidence[^\n]*$"):
        OnnxClassifier(tmp_path / "m.onnx")


def test_a_graph_with_other_probabilities_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "probabilities", lambda logits, _: probabilities(logits, Confidence(0.9)))
    with pytest.raises(ArtifactError, match="the graph's probabilities are not those of its logits: they differ by"):
        lenet_zoo.export_onnx(with_confidence("lenet5_modern", None), tmp_path / "m.onnx", probabilities=True)
    assert not list(tmp_path.iterdir())


class Fixed(Classifier):
    """Answers every picture with the same logits."""

    size = (28, 28)

    def __init__(self, logits: list[float], confidence: Confidence | None) -> None:
        self.card = Card(labels=("cat", "dog"), confidence=confidence)
        self.logits = logits

    def predict_logits(self, pixels: np.ndarray) -> np.ndarray:
        return np.array([self.logits] * len(self._checked(pixels)), np.float32)


def test_a_picture_that_is_none_of_these_is_rejected_with_the_reason() -> None:
    pixels = bundled()[:1]
    (known,) = Fixed([-2.0, -9.0], RUBBISH).predict(pixels)
    assert (known.label, known.reason) == ("cat", None)
    (found,) = Fixed([-9.0, -5.0], RUBBISH).predict(pixels, top_k=2, min_confidence=0.9)
    assert (found.label, [one.label for one in found.top]) == (None, ["dog", "cat"])
    assert found.confidence == found.top[0].confidence == pytest.approx(0.259496, abs=1e-6)
    assert found.reason == (
        "none of the network's classes: that has probability 0.705, and the best of them, 'dog', 0.259"
    )


def test_score_rejects_what_is_none_of_these() -> None:
    answers = Fixed([-9.0, -5.0], RUBBISH).predict_array(np.zeros((2, 28, 28), np.uint8))
    answers[0] = [0.75, 0.25]
    rows = Rows(("cat", "dog"))
    put_answers(rows, [rows.add("a"), rows.add("b")], answers, ("cat", "dog"), top_k=1, min_confidence=0.0)
    assert rows.rejected == [False, True]
    assert rows.errors == [None, refusal(answers[1], "dog")]
    assert json.dumps(rows.totals()["labels"]) == '{"cat": 1, "dog": 0}'


def test_a_fine_tuned_network_gets_the_temperature_of_its_validation_pictures(digits: Dataset) -> None:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    logits = logits_of(model)(digits.images.numpy())
    found = _confidence(logits, digits)
    assert found is not None
    assert (found.j, found.fitted_on) == (None, "1,797 validation pictures")
    right = (logits.argmax(1) == digits.labels.numpy()).mean()
    assert probabilities(logits, found).max(1).mean() == pytest.approx(right, abs=1e-3)
    few = replace(digits, images=digits.images[:99], labels=digits.labels[:99])
    assert _confidence(logits[:99], few) is None
    assert _confidence(None, None) is None


# ------------------------------------------------------------------------------------------------------ command line


def test_evaluate_prints_the_calibration_error(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "lenet5_classic.lecun1998_mnist", "--dataset", "digits"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert run(command) == 0
    line = capsys.readouterr().out.splitlines()[0]
    error, refused = found["calibration_error"], found["none_of_these"]
    assert line.endswith(
        f", expected calibration error {100 * error:.2f} %, {refused:,} rejected as none of the network's classes"
    )
    assert refused > 0


@pytest.mark.parametrize(
    ("confidence", "shown"), [(1.0, "> 99.9 %"), (0.9996, "> 99.9 %"), (0.999, "99.9 %"), (0.5, "50.0 %")]
)
def test_no_answer_is_said_to_be_certain(confidence: float, shown: str) -> None:
    row = {"path": "a.png", "label": "4", "top": [{"label": "4", "confidence": confidence}], "error": None}
    assert _answer(row) == [f"a.png: 4 ({shown})"]
