"""Files from strangers: each is refused with one line that says what it is."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lenet_zoo import OnnxReader
from lenet_zoo.classify import OnnxClassifier, read_metadata
from lenet_zoo.errors import ArtifactError


def refused(path: Path, call: Callable[[Path], object] = OnnxClassifier) -> str:
    with pytest.raises(ArtifactError) as caught:
        call(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def changed(exported: Any, tmp_path: Path) -> Callable[[Callable[[onnx.ModelProto], object]], Path]:
    """Write a file of the zoo after a change to it."""

    def write(change: Callable[[onnx.ModelProto], object]) -> Path:
        model = onnx.load(exported(input="pixels"))
        change(model)
        path = tmp_path / "changed.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def set_property(key: str, value: str | None) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        kept = {p.key: p.value for p in model.metadata_props if p.key != key}
        helper.set_model_props(model, kept if value is None else {**kept, key: value})

    return change


def test_metadata_are_read_as_onnx_reads_them(exported: Any) -> None:
    path = exported("lenet5_classic", input="pixels")
    model = onnx.load(path)
    wanted = {p.key: p.value for p in model.metadata_props}
    found = read_metadata(path)
    assert found.pop("bytes") == path.stat().st_size
    assert (found.pop("opset"), found.pop("ir_version")) == (17, 8)
    assert wanted.pop("format") == "lenet_zoo/1"
    assert found == {key: json.loads(text) if text[0] in "[{" else text for key, text in wanted.items()}


def test_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "m.onnx") == f"cannot read {tmp_path / 'm.onnx'}: No such file or directory"
    assert refused(tmp_path) == f"cannot read {tmp_path}: Is a directory"


@pytest.mark.parametrize("data", [b"", b"\x08", b"PK\x03\x04 a zip", b"\x89PNG\r\n", b"<html>", b"\x80\x04 a pickle"])
def test_not_onnx(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for call in (OnnxClassifier, read_metadata):
        assert refused(path, call) == f"{path} is not an ONNX file"


def test_zeros_are_no_fields(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08" + bytes(1000))
    assert refused(path) == f"{path} is truncated or damaged: a field without a number"


@pytest.mark.parametrize("call", [OnnxClassifier, OnnxReader, read_metadata])
def test_a_large_file_is_not_read(tmp_path: Path, call: Callable[[Path], object]) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as stream:
        stream.truncate(6_000_000_000)
    size = "it has 6,000,000,000 bytes, and at most"
    assert refused(path, call) == f"cannot read {path}: {size} 16,000,000 are read"
    trusting = functools.partial(OnnxClassifier, trusted=True)
    assert refused(path, trusting) == f"cannot read {path}: {size} 2,147,483,647 are read"


def test_truncated_anywhere(exported: Any, tmp_path: Path) -> None:
    data, path = exported(input="pixels").read_bytes(), tmp_path / "m.onnx"
    cuts = [3, 10, 100, 1000, len(data) // 2, *range(len(data) - 1500, len(data), 7), len(data) - 1]
    for cut in cuts:
        path.write_bytes(data[:cut])
        text = refused(path)
        # A cut between two entries of the metadata leaves a whole message; the first entry says whose file it is.
        assert "is truncated or damaged: " in text or "is not a network of lenet_zoo" in text, (cut, text)
    path.write_bytes(data[: len(data) // 2])
    missing = text_between(refused(path), "damaged: ", " bytes are missing")
    assert int(missing.replace(",", "")) > 0


def text_between(text: str, left: str, right: str) -> str:
    return text.split(left)[1].split(right)[0]


def test_noise_is_refused_and_never_crashes(exported: Any, tmp_path: Path) -> None:
    data, path = exported(input="pixels").read_bytes(), tmp_path / "m.onnx"
    random, times = np.random.default_rng(0), 0
    for _ in range(100):
        broken = bytearray(data)
        for at in random.integers(0, 3000, 3):
            broken[at] = random.integers(256)
        path.write_bytes(broken)
        try:
            read_metadata(path)
        except ArtifactError:
            times += 1
    assert times > 20  # else a weight was hit, or a name


def test_a_file_is_not_read_whole_where_it_is_too_large_for_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(16_000_001)
    assert refused(path) == f"cannot read {path}: it has 16,000,001 bytes, and at most 16,000,000 are read"


def test_another_network(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 224, 224])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "resnet18", [x], [y])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, producer_name="pytorch"), path)
    assert refused(path) == refused(path, read_metadata)
    assert refused(path) == (
        f"{path} is not a network of lenet_zoo: it holds 'resnet18' by pytorch and has no lenet_zoo metadata; write "
        "one with lenet_zoo.export_onnx or lenet-zoo export"
    )


@pytest.mark.parametrize("location", ["../../etc/passwd", "weights.bin", "/etc/passwd"])
def test_weights_outside_the_file(changed: Any, location: str) -> None:
    def move_out(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")

    path = changed(move_out)
    (path.parent / "weights.bin").write_bytes(bytes(4096))
    for call in (OnnxClassifier, read_metadata):
        text = refused(path, call)
        assert text == (
            f"{path} keeps weights in another file '{location}': only files that hold everything are read; "
            "onnx.save(onnx.load(FILE), NEW_FILE) puts them into one"
        )


def test_weights_outside_the_file_in_a_hidden_place(changed: Any) -> None:
    def hide(model: onnx.ModelProto) -> None:
        inner = onnx.GraphProto(name="inner")
        tensor = inner.initializer.add(name="t", data_type=TensorProto.FLOAT, dims=[1], raw_data=bytes(4))
        onnx.external_data_helper.set_external_data(tensor, "secret")
        attribute = model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH)
        attribute.g.CopyFrom(inner)

    assert "keeps weights in another file 'secret'" in refused(changed(hide))


def test_graphs_without_end(changed: Any) -> None:
    def nest(model: onnx.ModelProto) -> None:
        graph = onnx.GraphProto(name="g")
        for _ in range(30):
            outer = onnx.GraphProto(name="g")
            node = outer.node.add(op_type="If")
            node.attribute.add(name="b", type=onnx.AttributeProto.GRAPH).g.CopyFrom(graph)
            graph = outer
        model.graph.node[0].attribute.add(name="b", type=onnx.AttributeProto.GRAPH).g.CopyFrom(graph)

    assert refused(changed(nest)).endswith("is truncated or damaged: its graphs are nested too deeply")


def test_unknown_operator_set(changed: Any) -> None:
    path = changed(lambda model: model.opset_import.append(helper.make_opsetid("com.example", 3)))
    assert refused(path) == f"{path} needs the operator set 'com.example' 3, which onnxruntime does not have"


def test_operators_of_the_future(changed: Any) -> None:
    def advance(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = 99

    text = refused(changed(advance))
    assert "cannot be run by onnxruntime" in text
    assert "(operator set ai.onnx 99)" in text


def test_newer_format(changed: Any) -> None:
    text = refused(changed(set_property("format", "lenet_zoo/2")))
    assert text.endswith("has format 'lenet_zoo/2', this version reads 'lenet_zoo/1': update lenet-zoo")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("labels", None, "its metadata lacks labels"),
        ("labels", "[1, 2]", "its labels are not all text"),
        ("labels", '{"a": 1}', "its metadata 'labels' is not a JSON list"),
        ("labels", "[" * 100_000, "its metadata 'labels' is not a JSON list"),
        ("labels", '["a"]', "its logits have shape ['batch', 10], and it has 1 labels"),
        ("input", "oops", "its metadata 'input' is not a JSON dict"),
        ("input", "{}", "its metadata says (None, None, None)"),
    ],
)
def test_metadata_that_contradict_the_graph(changed: Any, key: str, value: str | None, text: str) -> None:
    assert refused(changed(set_property(key, value))).endswith(text)


def test_normalisation_that_is_no_number(exported: Any, tmp_path: Path) -> None:
    model = onnx.load(exported(input="normalized"))
    convention = json.loads({p.key: p.value for p in model.metadata_props}["input"])
    for wrong in ([0], [1, 2], ["x"], None):
        set_property("input", json.dumps(dict(convention, std=wrong)))(model)
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        assert refused(path).endswith("mean and std of its metadata are not 1 usable numbers each")
    set_property("input", json.dumps(dict(convention, std=[float("nan")])))(model)  # which is no JSON
    path.write_bytes(model.SerializeToString())
    assert refused(path).endswith("its metadata 'input' is not a JSON dict")


def test_network_without_classes(exported: Any) -> None:
    text = refused(exported(model=dict(num_classes=0)))
    assert text.endswith("has no output layer: its outputs are features")
    text = refused(exported(model=dict(global_pool="")))
    assert text.endswith("answers at every position (global_pool=''): run it with onnxruntime")
