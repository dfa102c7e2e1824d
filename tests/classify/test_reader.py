"""`OnnxReader`: a picture of a line to its number, in one place whatever the network says."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import lenet_zoo
from lenet_zoo.classify.decoding import best_path
from lenet_zoo.classify.reader import Character, OnnxReader, Reader, Reading, _together, expected
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import ArtifactError, InputError

LABELS = (*"0123456789", "none")
LINE = dict(labels=list(LABELS), preparation="line")


@pytest.fixture(scope="module")
def path(exported: Any) -> Path:
    """A network with random weights that answers along a line."""
    return exported(model=dict(num_classes=11, global_pool=""), input="pixels", card=LINE)


@pytest.fixture(scope="module")
def classic(exported: Any) -> Path:
    """The same of 1998, where "none" is Eq. 9's rubbish class."""
    options = dict(num_classes=11, global_pool="", j=60.0)
    return exported("lenet5_classic", model=options, input="pixels", card=LINE)


@pytest.fixture
def line(digits: Dataset) -> Image.Image:
    parts = [np.pad(digits.images[i].numpy(), ((6, 6), (2, 2))) for i in (0, 3, 5)]
    return Image.fromarray(255 - np.concatenate(parts, 1))


class Told(Reader):
    """A reader whose network answers what it is told: (label, first column, last column) in the strip.

    The same in whatever width it comes again: the first is its own.
    """

    def __init__(self, *told: tuple[int, int, int], sure: float = 9.0) -> None:
        self.card = lenet_zoo.cards.Card(labels=LABELS)
        self.told, self.sure, self.width = told, sure, 0

    def answers(self, strips: np.ndarray) -> np.ndarray:
        if strips.shape[2] == 30:  # characters alone: any digit may be any
            return np.tile(np.array([1.0] * 10 + [0.0], np.float32)[None, :, None], (len(strips), 1, 2))
        self.width = self.width or strips.shape[2]
        middles = (14 + 2 * np.arange((strips.shape[2] - 28) // 2 + 1)) * self.width / strips.shape[2]
        logits = np.zeros((1, 11, len(middles)), np.float32)
        logits[0, 10] = self.sure
        for label, first, last in self.told:
            there = (middles >= first) & (middles <= last)
            logits[0, 10, there], logits[0, label, there] = 0, self.sure
        return logits


def test_the_answer_has_text_confidence_and_boxes(line: Image.Image) -> None:
    (found,) = Told((4, 18, 22), (2, 40, 42), (7, 62, 64)).read(line)
    assert found.text == "427"
    assert found.reason is None
    assert [one.label for one in found.characters] == ["4", "2", "7"]
    assert 0.9 < found.confidence < 1
    assert all(found.confidence <= one.confidence < 1 for one in found.characters)
    boxes = [one.box for one in found.characters]
    # Each reaches half-way to its neighbour, where a column of the picture may be in both.
    assert all(one[2] <= other[0] + 1 for one, other in itertools.pairwise(boxes))
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= line.width
        assert 0 <= top < bottom <= line.height


@pytest.mark.parametrize("threads", [1, 3])
def test_several_pictures_have_their_answers_in_order(line: Image.Image, threads: int) -> None:
    reader, blank = Told((4, 18, 22), (2, 40, 42)), Image.new("L", (200, 60), 255)
    reader.threads = threads
    found = reader.read([line, line, blank, line, blank, blank])
    assert [one.text for one in found] == ["42", "42", None, "42", None, None]


def test_two_equal_digits_are_two(line: Image.Image) -> None:
    assert Told((1, 18, 22), (1, 26, 30)).read(line)[0].text == "11"
    assert Told((1, 18, 30)).read(line)[0].text == "1"


def test_a_line_without_a_digit_is_no_number(line: Image.Image) -> None:
    (found,) = Told().read(line)
    assert (found.text, found.characters) == (None, ())
    assert found.reason == "no number: the line holds no digit"
    (blank,) = Told((4, 18, 22)).read(Image.new("L", (200, 60), 255))
    assert (blank.text, blank.reason) == (None, "no number: the picture is of one tone")


def test_several_lines_have_an_answer_each(line: Image.Image) -> None:
    reader, one = Told((4, 18, 22), (2, 40, 42)), np.asarray(line)
    sheet = Image.fromarray(np.concatenate([one, np.full((20, one.shape[1]), 255, np.uint8), one]))
    (found,) = reader.read(sheet)
    assert [part.text for part in found.lines] == ["42", "42"]
    assert found.text == "42\n42"
    assert found.confidence == pytest.approx(np.prod([part.confidence for part in found.lines]))
    assert found.characters == found.lines[0].characters + found.lines[1].characters
    assert found.lines[0].characters[0].box[3] < found.lines[1].characters[0].box[1]
    assert reader.read(line)[0].lines == ()
    (found,) = reader.read(sheet, min_confidence=1)
    assert (found.text, [part.text for part in found.lines]) == (None, [None, None])
    assert found.reason == f"the likeliest number, '42\\n42', has confidence {found.confidence:.3f} < 1"


def test_all_lines_together_are_as_sure_as_is_asked(line: Image.Image) -> None:
    reader, one = Told((4, 18, 22), (2, 40, 42)), np.asarray(line)
    sheet = Image.fromarray(np.concatenate([one, np.full((20, one.shape[1]), 255, np.uint8), one]))
    (found,) = reader.read(sheet)
    least = (found.confidence + found.lines[0].confidence) / 2
    (rejected,) = reader.read(sheet, min_confidence=least)
    assert (rejected.text, [part.text for part in rejected.lines]) == (None, ["42", "42"])
    assert (rejected.confidence, rejected.characters) == (found.confidence, found.characters)


@pytest.mark.parametrize(
    ("lines", "least", "text", "reason", "labels"),
    [
        ((("42", 0.9), (None, 0.2)), 0.5, "42", None, "42"),
        ((("42", 0.9), ("7", 0.6)), 0.5, "42\n7", None, "427"),
        ((("42", 0.9), ("7", 0.6)), 0.6, None, "the likeliest number, '42\\n7', has confidence 0.540 < 0.6", "427"),
        (((None, 0.2), ("7", 0.6)), 0.7, None, "the likeliest number, '7', has confidence 0.600 < 0.7", "7"),
        (((None, 0.2), (None, 0.3)), 0.5, None, "no number", "88"),
    ],
)
def test_the_digits_of_several_lines_are_those_of_the_text(
    lines: Any, least: float, text: str | None, reason: str | None, labels: str
) -> None:
    def reading(text: str | None, confidence: float) -> Reading:
        digits = tuple(Character(digit, 0.9, (0, 0, 1, 1)) for digit in text or "8")
        return Reading(text, confidence, digits, None if text else "no number")

    found = _together([reading(*line) for line in lines], least)
    assert (found.text, found.reason) == (text, reason)
    assert "".join(one.label for one in found.characters) == labels
    assert found.text is None or found.confidence >= least


def test_what_is_no_number_as_a_whole_is_refused_unless_one_is_expected(line: Image.Image) -> None:
    letters = Told((4, 16, 24), (2, 38, 46), (7, 60, 68), sure=3.5)
    (found,) = letters.read(line)
    assert (found.text, len(found.characters)) == (None, 3)
    each = found.confidence ** (1 / 3)
    assert found.reason == f"no number: as '427' it has a probability of only {each:.2f} per digit"
    assert letters.read(line, expect=3)[0].text == "427"
    assert Told((4, 16, 24), (2, 38, 46), (7, 60, 68), sure=7.0).read(line)[0].text == "427"


def test_a_doubtful_number_is_rejected_with_its_characters(line: Image.Image) -> None:
    (found,) = Told((4, 16, 24), (2, 38, 46), sure=4.0).read(line, min_confidence=0.95)
    assert found.text is None
    assert len(found.characters) == 2
    assert found.reason == f"the likeliest number, '42', has confidence {found.confidence:.3f} < 0.95"


def test_what_is_expected_decides_between_likely_texts(line: Image.Image) -> None:
    reader = Told((4, 18, 22), (2, 40, 42), (7, 62, 62), sure=6.0)
    assert reader.read(line, expect=2)[0].text in {"42", "47", "27"}
    assert len(reader.read(line, expect=r"4\d\d")[0].text or "") == 3
    (found,) = Told((4, 18, 22)).read(line, expect=r"5\d{7}")
    assert found.text is None
    assert found.reason == r"no number matches '5\d{7}': it reads '4'"


@pytest.mark.parametrize("expect", [0, -1, True, 2.5, "(", "0", "-3"])
def test_an_expectation_that_is_none_is_refused(expect: Any) -> None:
    with pytest.raises(InputError, match="expect="):
        expected(expect)


def test_confidence_is_a_probability(line: Image.Image) -> None:
    with pytest.raises(InputError, match="min_confidence=2: a probability, from 0 to 1"):
        Told().read(line, min_confidence=2)
    with pytest.raises(InputError, match="min_confidence=1: a probability, from 0 to 1"):
        Told().read(line, min_confidence="1")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="an empty list"):
        Told().read([])


@pytest.mark.parametrize("network", ["path", "classic"])
def test_there_is_an_answer_every_2_px_as_from_a_window_of_each_place(
    network: str, request: pytest.FixtureRequest
) -> None:
    import onnxruntime

    path = request.getfixturevalue(network)
    reader = OnnxReader(path, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (28, 61), dtype=np.uint8)
    found = reader.log_probabilities(pixels)
    session = onnxruntime.InferenceSession(path)
    assert found.shape == (20, 11)
    # C1 pads a picture with background: so each window has 2 px more on both sides, and its answer is the middle one.
    padded = np.pad(pixels, ((0, 0), (2, 7)))
    for t in range(20):
        (logits,) = session.run(["logits"], {"pixels": padded[None, None, :, 2 * t : 2 * t + 32]})
        wanted = logits[0, :, 0, 1]
        np.testing.assert_allclose(found[t], wanted - np.log(np.exp(wanted).sum()), atol=1e-4)
    assert np.exp(found).sum(1) == pytest.approx(1)
    with pytest.raises(InputError, match="a line is uint8 28×W, not uint8 20×61"):
        reader.log_probabilities(pixels[:20])


def test_a_normalized_file_gives_the_same_answers(path: Path, exported: Any) -> None:
    other = exported(model=dict(num_classes=11, global_pool=""), input="normalized", card=LINE)
    pixels = np.random.default_rng(1).integers(0, 256, (28, 90), dtype=np.uint8)
    found = [OnnxReader(one).log_probabilities(pixels) for one in (path, other)]
    np.testing.assert_allclose(*found, atol=1e-3)


def test_a_copy_reads_alike(path: Path, line: Image.Image) -> None:
    reader = OnnxReader(path, threads=2)
    assert pickle.loads(pickle.dumps(reader)).read([line, line]) == reader.read([line, line])


def test_files_of_the_other_kind_are_refused(path: Path, exported: Any) -> None:
    single = exported(input="pixels")
    with pytest.raises(ArtifactError, match=r"reads single characters: take lenet_zoo\.OnnxClassifier"):
        OnnxReader(single)
    with pytest.raises(ArtifactError, match=r"reads numbers: take lenet_zoo\.OnnxReader"):
        lenet_zoo.OnnxClassifier(path)
    fixed = exported(model=dict(num_classes=11, global_pool=""), input="pixels", card=LINE, input_size=(28, 56))
    with pytest.raises(ArtifactError, match="not any number of lines 1×28 of any width"):
        OnnxReader(fixed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lenet_zoo.models.LeNet5Modern, "answer_every_2_px", lambda self: self)
        sparse = exported(model=dict(num_classes=11, global_pool=""), input="pixels", opset=18, card=LINE)
    with pytest.raises(ArtifactError, match=r"does not answer every 2 px: export it again$"):
        OnnxReader(sparse)
    with pytest.raises(InputError, match="threads=0"):
        OnnxReader(path, threads=0)


def test_it_reads_without_torch(path: Path, tmp_path: Path, line: Image.Image) -> None:
    line.save(tmp_path / "line.png")
    code = (
        "import sys, lenet_zoo\n"
        f"found = lenet_zoo.OnnxReader({str(path)!r}).read({str(tmp_path / 'line.png')!r})\n"
        "assert len(found) == 1 and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_best_path_of_a_strip_is_the_readers(line: Image.Image) -> None:
    reader = Told((4, 18, 22), (2, 40, 42))
    from lenet_zoo.pictures.line import line_from_image

    strip = line_from_image(line)
    assert best_path(reader.log_probabilities(strip.pixels)) == (4, 2)


def test_a_number_in_place_of_its_length_is_told() -> None:
    with pytest.raises(InputError, match=r"^expect=12345678901: how many digits a number has, not the number$"):
        expected("12345678901")
    with pytest.raises(InputError, match=r"^expect has 5,000 digits: how many digits a number has, not the number$"):
        expected("1" * 5_000)


@pytest.mark.parametrize("word", ["", "five"])
def test_a_word_is_no_pattern_of_digits(word: str) -> None:
    with pytest.raises(InputError, match=rf"^expect='{word}': how many digits, or a regular expression such as"):
        expected(word)


def test_read_opens_a_file_again_when_another_one_lies_there(path: Path, tmp_path: Path, line: Image.Image) -> None:
    network = tmp_path / "n.onnx"
    network.write_bytes(path.read_bytes())
    assert lenet_zoo.read(line, name=network).characters
    network.write_bytes(b"not onnx any more")
    with pytest.raises(ArtifactError):
        lenet_zoo.read(line, name=network)
    with pytest.raises(InputError, match="a list is not a picture"):
        lenet_zoo.read([line, line])  # type: ignore[arg-type]


def test_answers_that_are_not_finite_are_refused(path: Path, tmp_path: Path) -> None:
    model = onnx.load(path)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "output.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(11, np.nan, np.float32), bias.name))
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(
        ArtifactError, match=r"n\.onnx answers with values that are not finite \(nan or inf\): export it"
    ):
        OnnxReader(tmp_path / "n.onnx")


def test_a_graph_of_another_rank_is_refused(path: Path, tmp_path: Path) -> None:
    graph = onnx.load(path)
    del graph.graph.input[0].type.tensor_type.shape.dim[3]
    del graph.graph.node[:]
    graph.graph.node.append(onnx.helper.make_node("Cast", ["pixels"], ["logits"], to=onnx.TensorProto.FLOAT))
    onnx.save(graph, tmp_path / "n.onnx")
    with pytest.raises(ArtifactError):
        OnnxReader(tmp_path / "n.onnx")
