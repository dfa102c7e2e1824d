"""What an ONNX file says of itself, read from its bytes.

A deployment has onnxruntime and not the `onnx` package, and onnxruntime gives a file's metadata only after it has built
a session of it. So the few fields that are needed are read from the protobuf wire format here. Every length is checked,
since a file may come from a stranger.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lenet_zoo._files import parse_json, read_regular
from lenet_zoo.cards import Card
from lenet_zoo.errors import ArtifactError

__all__ = ["FORMAT", "OnnxFile", "card_in", "metadata_of", "read_file", "read_metadata"]

FORMAT = "lenet_zoo/1"
_REQUIRED = ("model", "input", "labels", "precision", "weights_sha256", "created_with")
_JSON = {"input": dict, "labels": list, "created_with": dict, "metrics": dict, "confidence": dict}
# ONNX's operator sets ('' is ai.onnx) and onnxruntime's own. A file that onnxruntime optimised names all that it has,
# whether used or not.
_DOMAINS = ("", "org.pytorch.aten")
_FAMILIES = ("ai.onnx.", "com.microsoft", "com.ms.internal.")
_DEEPEST = 20  # graphs within graphs; a network of the zoo has one

# Field numbers of onnx.proto, message → field → message in it, as far as tensors can hide there.
_NESTED: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node"},
    "Tensor": {},
}


@dataclass
class OnnxFile:
    """An ONNX file: its bytes, and what it says of itself.

    Attributes:
        path: where it was read from.
        data: its bytes.
        producer, graph: names of the program that wrote it and of its graph.
        ir_version: of the format.
        opsets: operator set → version; ONNX's own is ''.
        properties: metadata_props, as they stand.
    """

    path: Path
    data: bytes
    producer: str = ""
    graph: str = ""
    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file of the zoo says of itself; no session is built.

    Returns:
        model, labels, input (name, dtype, shape, mean, std, …), precision, weights_sha256 and created_with; where
        known also tag, dataset, metrics, confidence, licence and recipe; and the file's own opset, ir_version and
        bytes.

    Raises: ArtifactError for a file that is missing, not ONNX, truncated, or not of this zoo.
    """
    file = read_file(path)
    return dict(metadata_of(file), opset=file.opsets[""], ir_version=file.ir_version, bytes=len(file.data))


def read_file(path: str | os.PathLike[str]) -> OnnxFile:
    """Read a file, and check all but its operators and weights.

    Raises: ArtifactError for a file that is missing, not ONNX or truncated, that keeps tensors in other files, or
    that names an operator set which onnxruntime does not have.
    """
    path = Path(path)
    try:
        data = read_regular(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    file = OnnxFile(path, data)
    if data[4:8] == b"ORTM":
        raise ArtifactError(
            f"{path} is in onnxruntime's own ORT format, which onnxruntime alone reads: give the ONNX file that it was "
            "made of"
        )
    # Every writer of protobuf begins with the first field, ir_version, a small number.
    if len(data) < 2 or data[0] != 0x08 or data[1] > 0x7F:
        raise ArtifactError(f"{path} is not an ONNX file")
    try:
        _read_model(memoryview(data), file)
    except (_Damaged, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is truncated or damaged: {error}") from error
    if "" not in file.opsets:
        raise ArtifactError(f"{path} is truncated or damaged: it names no version of ONNX's operators")
    for domain, version in file.opsets.items():
        if domain not in _DOMAINS and not domain.startswith(_FAMILIES):
            raise ArtifactError(f"{path} needs the operator set {domain!r} {version}, which onnxruntime does not have")
    return file


def metadata_of(file: OnnxFile) -> dict[str, Any]:
    """The metadata of a file of the zoo, lists and mappings decoded.

    Raises: ArtifactError for another program's file, and for values that are not what they should be.
    """
    found = file.properties
    if "format" not in found:
        who = f" by {file.producer}" if file.producer else ""
        raise ArtifactError(
            f"{file.path} is not a network of lenet_zoo: it holds {file.graph or 'a graph'!r}{who} and has no "
            "lenet_zoo metadata; write one with lenet_zoo.export_onnx or lenet-zoo export"
        )
    if found["format"] != FORMAT:
        raise ArtifactError(
            f"{file.path} has format {found['format']!r}, this version reads {FORMAT!r}: update lenet-zoo"
        )
    missing = [key for key in _REQUIRED if key not in found]
    if missing:
        raise ArtifactError(f"{file.path} is truncated or damaged: its metadata lacks {', '.join(missing)}")
    metadata: dict[str, Any] = {key: value for key, value in found.items() if key != "format"}
    for key, kind in _JSON.items():
        if key in metadata:
            try:
                metadata[key] = parse_json(metadata[key])
            except ValueError:
                metadata[key] = None
            if not isinstance(metadata[key], kind):
                raise ArtifactError(f"{file.path} is damaged: its metadata {key!r} is not a JSON {kind.__name__}")
    card_in(metadata, file.path)
    return metadata


# Keys of the metadata that have another name in a card; and those that describe the file, not the network.
_RENAMED = {"model": "architecture", "weights_sha256": "sha256"}
_OF_THE_FILE = ("input", "precision", "opset", "ir_version", "bytes")


def card_in(metadata: dict[str, Any], path: Path) -> Card:
    """The card that a file's metadata hold.

    Raises: ArtifactError for fields of the wrong type.
    """
    document = {_RENAMED.get(key, key): value for key, value in metadata.items() if key not in _OF_THE_FILE}
    return Card.parse(document, str(path), error=ArtifactError)


# ------------------------------------------------------------------------------------------------------- wire format


class _Damaged(Exception):
    """The bytes are not protobuf, or stop early."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise _Damaged("it stops within a number")
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    raise _Damaged("a number does not end")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of one message: numbers as int, everything that has a length as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _Damaged(f"a field of kind {kind}")
        if size > len(data) - at:
            raise _Damaged(f"{size - (len(data) - at):,} bytes are missing")
        yield number, data[at : at + size]
        at += size


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Damaged("a number in place of a text or message")
    return value


def _read_model(data: memoryview, file: OnnxFile) -> None:
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            file.ir_version = value
        elif number == 2:
            file.producer = _text(value)
        elif number == 7:
            for inner, name in _fields(_bytes(value)):
                if inner == 2:
                    file.graph = _text(name)
        elif number == 8:
            entry = dict(_fields(_bytes(value)))
            version = entry.get(2, 0)
            domain = _text(entry.get(1, memoryview(b"")))
            file.opsets["" if domain == "ai.onnx" else domain] = version if isinstance(version, int) else 0
        elif number == 14:
            entry = dict(_fields(_bytes(value)))
            empty = memoryview(b"")
            file.properties[_text(entry.get(1, empty))] = _text(entry.get(2, empty))
    _refuse_external(data, "Model", file.path, 0)


def _refuse_external(data: memoryview, message: str, path: Path, depth: int) -> None:
    """Refuse tensors that are kept in other files: they could name any file of this machine."""
    if depth > 4 * _DEEPEST:
        raise _Damaged("its graphs are nested too deeply")
    nested = _NESTED[message]
    for number, value in _fields(data):
        if message == "Tensor":
            if number == 13 or (number == 14 and value != 0):
                location = dict(_fields(_bytes(value))).get(2, memoryview(b"")) if number == 13 else memoryview(b"")
                where = f" {_text(location)!r}" if len(_bytes(location)) else ""
                raise ArtifactError(
                    f"{path} keeps weights in another file{where}: only files that hold everything are read; "
                    "onnx.save(onnx.load(FILE), NEW_FILE) puts them into one"
                )
        elif number in nested:
            _refuse_external(_bytes(value), nested[number], path, depth + 1)
