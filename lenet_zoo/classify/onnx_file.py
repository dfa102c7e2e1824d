"""What an ONNX file says of itself, read from its bytes.

A deployment has onnxruntime and not the `onnx` package, and onnxruntime gives a file's metadata only after it has built
a session of it. So the few fields that are needed are read from the protobuf wire format (`onnx_graph`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lenet_zoo._files import parse_json, read_regular
from lenet_zoo.cards import Card
from lenet_zoo.classify.onnx_graph import Damaged, bytes_of, fields_of, inspect, text_of
from lenet_zoo.errors import ArtifactError

__all__ = ["FORMAT", "OnnxFile", "card_in", "metadata_of", "read_file", "read_metadata"]

FORMAT = "lenet_zoo/1"
_REQUIRED = ("model", "input", "labels", "precision", "weights_sha256", "created_with")
_JSON = {"input": dict, "labels": list, "created_with": dict, "metrics": dict, "confidence": dict, "looks": int}
# ONNX's operator sets ('' is ai.onnx) and onnxruntime's own. A file that onnxruntime optimised names all that it has,
# whether used or not.
_DOMAINS = ("", "org.pytorch.aten")
_FAMILIES = ("ai.onnx.", "com.microsoft", "com.ms.internal.")
# Bytes of a file at most: a network of the zoo has less than a million, and 20 million can be 10 million fields, which
# take half a minute to read. Of a trusted file as many as protobuf allows.
_MOST_BYTES, _MOST_BYTES_TRUSTED = 16_000_000, 2**31 - 1


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
        unusual: what no network of the zoo has and could take any time or memory, in words; '' where there is nothing.
    """

    path: Path
    data: bytes
    producer: str = ""
    graph: str = ""
    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    unusual: str = ""


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file of the zoo says of itself; no session is built.

    Returns:
        model, labels, input (name, dtype, shape, mean, std, …), precision, weights_sha256 and created_with; where
        known also tag, dataset, metrics, confidence, looks, licence and recipe; and the file's own opset, ir_version
        and bytes.

    Raises: ArtifactError for a file that is missing, not ONNX, truncated, or not of this zoo.
    """
    file = read_file(path)
    return dict(metadata_of(file), opset=file.opsets[""], ir_version=file.ir_version, bytes=len(file.data))


def read_file(path: str | os.PathLike[str], trusted: bool = False) -> OnnxFile:
    """Read a file, and check all but its operators and weights.

    Args:
        trusted: read it also when it has more than 16 MB, up to 2 GiB.

    Raises: ArtifactError for a file that is missing, too large, not ONNX or truncated, that keeps tensors in other
    files, or that names an operator set which onnxruntime does not have.
    """
    path = Path(path)
    try:
        data = read_regular(path, _MOST_BYTES_TRUSTED if trusted else _MOST_BYTES)
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
    except (Damaged, UnicodeDecodeError) as error:
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


def _read_model(data: memoryview, file: OnnxFile) -> None:
    for number, value in fields_of(data):
        if number == 1 and isinstance(value, int):
            file.ir_version = value
        elif number == 2:
            file.producer = text_of(value)
        elif number == 7:
            for inner, name in fields_of(bytes_of(value)):
                if inner == 2:
                    file.graph = text_of(name)
        elif number == 8:
            entry = dict(fields_of(bytes_of(value)))
            version = entry.get(2, 0)
            domain = text_of(entry.get(1, memoryview(b"")))
            file.opsets["" if domain == "ai.onnx" else domain] = version if isinstance(version, int) else 0
        elif number == 14:
            entry = dict(fields_of(bytes_of(value)))
            empty = memoryview(b"")
            file.properties[text_of(entry.get(1, empty))] = text_of(entry.get(2, empty))
    file.unusual = inspect(data, file.path)
