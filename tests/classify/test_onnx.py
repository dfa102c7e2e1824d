from __future__ import annotations

import copy
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image, ImageDraw

import lenet_zoo
from lenet_zoo.classify import Classifier, OnnxClassifier, Prediction
from lenet_zoo.classify.torch import TorchClassifier
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.export.calibration import bundled


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("input", ["pixels", "normalized"])
@pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic"])
def test_answers_are_the_graphs(exported: Any, name: str, input: str) -> None:
    path = exported(name, input=input)
    model = lenet_zoo.create_model(name)
    pixels = pictures(70, 28, 28)  # two pieces and a part of one
    feed = pixels[:, None]
    if input == "normalized":
        mean, std = model.pretrained_cfg["mean"][0], model.pretrained_cfg["std"][0]
        feed = ((feed / 255 - mean) / std).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = session.run(["logits"], {session.get_inputs()[0].name: feed})[0]
    classifier = OnnxClassifier(path)
    np.testing.assert_allclose(classifier.predict_logits(pixels), wanted, atol=2e-4)
    found = classifier.predict_array(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(wanted), atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("count", [1, 15, 17, 48, 49, 64, 97, 1000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_pieces_and_threads_change_nothing(exported: Any, count: int, threads: int) -> None:
    pixels = pictures(count, 28, 28)
    alone = OnnxClassifier(exported(input="pixels"), threads=1)
    found = OnnxClassifier(exported(input="pixels"), threads=threads).predict_array(pixels)
    one_by_one = np.concatenate([alone.predict_array(pixels[i : i + 1]) for i in range(count)])
    np.testing.assert_allclose(found, one_by_one, atol=1e-6)


def test_one_object_serves_many_threads(exported: Any) -> None:
    classifier = OnnxClassifier(exported(input="pixels"), threads=3)
    batches = [np.roll(pictures(150, 28, 28), i, axis=2) for i in range(24)]
    wanted = [OnnxClassifier(exported(input="pixels"), threads=1).predict_array(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(classifier.predict_array, batches))
    for got, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, right, atol=1e-6)


def test_input_is_neither_changed_nor_required_to_be_contiguous(exported: Any) -> None:
    classifier = OnnxClassifier(exported(input="pixels"))
    wide = pictures(40, 28, 56)
    before = wide.copy()
    found = classifier.predict_array(wide[:, :, ::2])
    assert np.array_equal(wide, before)
    np.testing.assert_array_equal(found, classifier.predict_array(np.ascontiguousarray(wide[:, :, ::2])))
    network = TorchClassifier(lenet_zoo.create_model("lenet5_modern"))
    for one in (classifier, network):
        for backwards in (wide[::-1, :, ::2], wide[:, ::-1, :28], wide[:, :, 27::-1]):
            copy = np.ascontiguousarray(backwards)
            np.testing.assert_array_equal(one.predict_array(backwards), one.predict_array(copy))


def test_top_k_and_rejection(exported: Any) -> None:
    classifier = OnnxClassifier(exported(input="pixels"))
    pixels = bundled()[:3]
    probabilities = classifier.predict_array(pixels)
    for row, found in zip(probabilities, classifier.predict(pixels, top_k=3), strict=True):
        best = np.argsort(-row)[:3]
        assert [top.label for top in found.top] == [classifier.labels[i] for i in best]
        assert [top.confidence for top in found.top] == pytest.approx(row[best].tolist())
        assert (found.label, found.confidence, found.reason) == (found.top[0].label, found.top[0].confidence, None)
    certain = probabilities.max(1)
    limit = float(np.sort(certain)[1])
    found = classifier.predict(pixels, min_confidence=limit)
    assert [p.label is None for p in found] == [bool(value < limit) for value in certain]
    (rejected,) = [p for p in found if p.label is None]
    assert rejected.top[0].confidence < limit
    assert rejected.reason == (
        f"the best answer, {rejected.top[0].label!r}, has confidence {rejected.confidence:.3f} < {limit:g}"
    )


def test_pictures_and_paths_are_read_as_digits(exported: Any, tmp_path: Path) -> None:
    classifier = OnnxClassifier(exported(input="pixels"))
    ink = np.full((90, 70), 250, np.uint8)
    ink[20:70, 30:38] = 10
    image = Image.fromarray(ink)
    image.save(tmp_path / "one.png")
    wanted = classifier.predict(lenet_zoo.digit_from_image(image)[None])
    for source in (image, tmp_path / "one.png", str(tmp_path / "one.png"), [image], [tmp_path / "one.png"]):
        assert classifier.predict(source) == wanted
    data = (tmp_path / "one.png").read_bytes()  # what a web server has in hand
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), [data], (io.BytesIO(data),)):
        assert classifier.predict(source) == wanted
    with (tmp_path / "one.png").open("rb") as stream:
        assert classifier.predict(stream) == wanted
    blank = Image.new("L", (40, 40), 255)
    first, second, third = classifier.predict([image, blank, image])
    assert first == third == wanted[0]
    assert second == Prediction(None, 0.0, (), second.reason)
    assert second.reason
    assert "\n" not in second.reason


def test_picture_that_cannot_be_opened(exported: Any, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"no\.png"):
        OnnxClassifier(exported(input="pixels")).predict(tmp_path / "no.png")


def test_colour_network_takes_grey_and_colour(exported: Any) -> None:
    classifier = OnnxClassifier(exported(model=dict(in_chans=3), input="pixels"))
    grey = pictures(4, 28, 28)
    colour = np.repeat(grey[:, None], 3, axis=1)
    np.testing.assert_array_equal(classifier.predict_array(grey), classifier.predict_array(colour))
    with pytest.raises(InputError, match=r"shape \(4, 2, 28, 28\): give uint8 N×28×28, or N×3×28×28, 0"):
        classifier.predict_array(colour[:, :2])


WANTED = "give uint8 N×28×28, 0 background and 255 ink"


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        (np.zeros((2, 28, 28), np.float32), f"pixels are float32: {WANTED}"),
        (np.zeros((2, 28, 28), np.int64), f"pixels are int64: {WANTED}"),
        (np.zeros((28, 28), np.uint8), f"pixels have shape (28, 28): {WANTED}"),
        (np.zeros((2, 3, 28, 28), np.uint8), f"pixels have shape (2, 3, 28, 28): {WANTED}"),
        (np.zeros((2, 32, 32), np.uint8), f"pictures of 32×32 pixels: {WANTED}"),
        (np.zeros((2, 28, 27), np.uint8), f"pictures of 28×27 pixels: {WANTED}"),
        (np.zeros((0, 28, 28), np.uint8), f"an empty batch: {WANTED}"),
    ],
)
@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_bad_pixels(exported: Any, pixels: np.ndarray, text: str, engine: str) -> None:
    if engine == "torch":
        classifier: Classifier = TorchClassifier(lenet_zoo.create_model("lenet5_modern"))
    else:
        classifier = OnnxClassifier(exported(input="pixels"))
    for call in (classifier.predict_array, classifier.predict_logits, classifier.predict):
        with pytest.raises(InputError) as caught:
            call(pixels)
        assert str(caught.value) == text


def test_bad_arguments(exported: Any) -> None:
    classifier, pixels = OnnxClassifier(exported(input="pixels")), pictures(1, 28, 28)
    for call, text in [
        (lambda: classifier.predict_array([[1]]), f"pixels are a list and not a numpy array: {WANTED}"),  # type: ignore[arg-type]
        (lambda: classifier.predict([]), "an empty list of pictures: give at least one"),
        (lambda: classifier.predict(pixels, top_k=0), "top_k=0: from 1 to the network's 10 classes"),
        (lambda: classifier.predict(pixels, top_k=11), "top_k=11: from 1 to the network's 10 classes"),
        (lambda: classifier.predict(pixels, top_k=1.5), "top_k=1.5: from 1 to the network's 10 classes"),  # type: ignore[arg-type]
        (lambda: classifier.predict(pixels, top_k="3"), "top_k=3: from 1 to the network's 10 classes"),  # type: ignore[arg-type]
        (lambda: classifier.predict(pixels, min_confidence="1"), "min_confidence=1: a probability, from 0 to 1"),  # type: ignore[arg-type]
        (lambda: classifier.predict(pixels, min_confidence=2), "min_confidence=2: a probability, from 0 to 1"),
        (lambda: classifier.predict(pixels, min_confidence=None), "min_confidence=None: a probability, from 0 to 1"),  # type: ignore[arg-type]
        (lambda: classifier.predict(pixels, min_confidence=[0.5]), "min_confidence=[0.5]: a probability, from 0 to 1"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == text


@pytest.mark.parametrize("kind", [OnnxClassifier, lenet_zoo.OnnxReader])
@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", [1]])
def test_an_impossible_number_of_threads(exported: Any, kind: Any, threads: Any) -> None:
    with pytest.raises(InputError) as caught:
        kind(exported(input="pixels"), threads=threads)
    assert str(caught.value) == f"threads={threads!r}: a whole number, at least 1"


def test_a_first_picture_that_was_interrupted_leaves_no_half_bound_buffers(exported: Any) -> None:
    classifier = OnnxClassifier(exported(input="pixels"))
    wanted = classifier.predict_array(np.zeros((2, 28, 28), np.uint8))[:1]
    session = classifier._running.session

    class Interrupted:
        """The session, but that Ctrl-C comes while the first picture's buffers are bound."""

        run_with_iobinding = session.run_with_iobinding
        came = False

        def io_binding(self) -> Any:
            binding = session.io_binding()
            if not self.came:
                binding.bind_output = self.interrupt
            return binding

        def interrupt(self, *_: object) -> None:
            self.came = True
            raise KeyboardInterrupt

    classifier._running.session = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        classifier.predict_array(np.zeros((1, 28, 28), np.uint8))
    np.testing.assert_allclose(classifier.predict_array(np.zeros((1, 28, 28), np.uint8)), wanted, rtol=1e-5)


def test_providers(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exported(input="pixels")
    assert OnnxClassifier(path, providers=["CPUExecutionProvider"]).providers == ("CPUExecutionProvider",)
    with pytest.raises(InputError, match=r"'CUDAExecutionProvider' is not in this onnxruntime, which has .*CPU"):
        OnnxClassifier(path, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    with_options: Any = ("CPUExecutionProvider", {})
    assert copy.copy(OnnxClassifier(path, providers=[with_options])).providers == ("CPUExecutionProvider",)
    with pytest.raises(InputError, match=r"providers: 'CUDAExecutionProvider' is not in this onnxruntime"):
        OnnxClassifier(path, providers=[("CUDAExecutionProvider", {"device_id": 1})])
    with pytest.raises(InputError, match=r"providers='CPUExecutionProvider': give a list of names"):
        OnnxClassifier(path, providers="CPUExecutionProvider")
    # What is asked for where a GPU build is installed: the device first, the CPU as the way out.
    asked = []
    real = onnxruntime.InferenceSession

    def session(data: bytes, options: Any, providers: list[str]) -> Any:
        asked.append(providers)
        return real(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    OnnxClassifier(path)
    assert asked == [["CUDAExecutionProvider", "CPUExecutionProvider"]] * 2  # at first for the sizes of its maps alone


def test_neither_torch_nor_onnx_is_loaded(exported: Any) -> None:
    script = (
        "import sys, numpy as np\n"
        "from lenet_zoo import OnnxClassifier\n"
        "print(len(OnnxClassifier(sys.argv[1]).predict(np.zeros((1, 28, 28), np.uint8))))\n"
        "loaded = {'torch', 'timm', 'onnx', 'torchvision', 'PIL', 'typer'} & set(sys.modules)\n"
        "print(sorted(loaded))\n"
    )
    path = exported(input="pixels")
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n[]\n"


def test_prepared_arrays_without_a_character_are_rejected(exported: Any, tmp_path: Path) -> None:
    """All-zero pixels were a "1" and noise an "8"."""
    nothing = [np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8), pictures(28, 28), bundled()[0]]
    found = OnnxClassifier(exported(input="pixels")).predict(np.stack(nothing))
    assert [one.reason for one in found] == [
        "no digit: the picture is of one tone",
        "no digit: the picture is of one tone",
        "no digit: the picture is noise",
        None,
    ]
    assert [one.label is None for one in found] == [True, True, True, False]
    assert [(one.confidence, one.top) for one in found[:3]] == [(0.0, ())] * 3
    # To a network of pictures a blank one is as good as any other.
    card = {"labels": list("abcdefghij"), "preparation": "picture"}
    path = lenet_zoo.export_onnx(
        lenet_zoo.create_model("lenet5_modern"), tmp_path / "m.onnx", input="pixels", card=card
    )
    assert all(one.label for one in OnnxClassifier(path).predict(np.stack(nothing)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_pictures_reads_them_as_they_are(tmp_path: Path, channels: int) -> None:
    shirt = Image.fromarray(np.linspace(0, 255, 56 * 56, dtype=np.uint8).reshape(56, 56))  # no character in it
    model = lenet_zoo.create_model("lenet5_modern", in_chans=channels)
    card = {"labels": list("abcdefghij"), "preparation": "picture"}
    path = lenet_zoo.export_onnx(model, tmp_path / "m.onnx", input="pixels", card=card)
    classifier = OnnxClassifier(path)
    assert classifier.metadata["preparation"] == "picture"
    wanted = classifier.predict_array(np.asarray(shirt.resize((28, 28), Image.Resampling.BILINEAR))[None])[0]
    found = classifier.predict(shirt)[0]
    assert found.label == classifier.labels[wanted.argmax()]
    assert found.confidence == pytest.approx(wanted.max(), abs=1e-6)
    characters = OnnxClassifier(lenet_zoo.export_onnx(model, tmp_path / "c.onnx", input="pixels"))
    assert characters.predict(Image.new("L", (56, 56), 255))[0].label is None


def test_a_network_without_a_border_of_its_own_reads_larger_pictures_in_torch_as_its_file_does(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_classic", pretrained=True, pad=0)
    ink = Image.new("L", (90, 90), 255)
    ImageDraw.Draw(ink).line((45, 15, 45, 75), fill=0, width=8)
    in_torch = TorchClassifier(model)
    in_onnx = OnnxClassifier(lenet_zoo.export_onnx(model, tmp_path / "m.onnx", input="pixels"))
    assert in_torch.size == in_onnx.size == (32, 32)
    assert in_torch.prepare(ink).shape == (32, 32)
    (found,), (wanted,) = in_torch.predict(ink), in_onnx.predict(ink)
    assert found.label == wanted.label == "1"
    assert found.confidence == pytest.approx(wanted.confidence, abs=1e-5)


def test_a_torch_network_takes_one_batch_in_either_rank() -> None:
    classifier = TorchClassifier(lenet_zoo.create_model("lenet5_modern", in_chans=3))
    grey = pictures(4, 28, 28)
    colour = np.repeat(grey[:, None], 3, axis=1)
    np.testing.assert_array_equal(classifier.predict_array(grey), classifier.predict_array(grey[:, None]))
    np.testing.assert_allclose(classifier.predict_array(grey), classifier.predict_array(colour), atol=1e-6)


def test_answers_of_torch_that_are_no_numbers_are_an_error() -> None:
    model = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True)
    with torch.no_grad():
        model.get_parameter("output.bias").fill_(torch.nan)
    with pytest.raises(WeightsError, match="answers with values that are not finite"):
        TorchClassifier(model).predict_array(bundled()[:2])
