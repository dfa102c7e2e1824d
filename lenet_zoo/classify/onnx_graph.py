"""What an ONNX graph holds, read from its bytes: protobuf's wire format, and the check of what would be run.

A file may come from a stranger, and onnxruntime runs whatever is in it: a loop without an end, a tensor of any size,
weights out of any file of this machine. Here every length is checked, and every operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lenet_zoo.errors import ArtifactError

__all__ = ["Damaged", "bytes_of", "fields_of", "inspect", "text_of"]

_DEEPEST = 20  # graphs within graphs; a network of the zoo has one
_MOST_NODES = 2_000  # operators; a network of the zoo has some dozens

# What our exports consist of and what usual tools make of them: none of these loops, and what each gives is no larger
# than its inputs and weights make it. ONNX's own operators, then those of onnxruntime.
_ONNX = """
Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvInteger DequantizeLinear Div Dropout
DynamicQuantizeLinear Exp Flatten Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid Identity LeakyRelu LogSoftmax
MatMul MatMulInteger Max MaxPool Mean Min Mul Neg Pad QLinearConv QLinearMatMul QuantizeLinear ReduceMax ReduceMean
ReduceSum Relu Reshape Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze
"""
_MICROSOFT = """
DequantizeLinear DynamicQuantizeMatMul FusedConv FusedGemm FusedMatMul Gelu MatMulIntegerToFloat QGemm QLinearAdd
QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearMul QLinearSigmoid QLinearSoftmax QuantizeLinear
"""
_BY_CHANNELS = """
AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool QLinearAveragePool QLinearConv ReorderInput ReorderOutput
"""
_OPERATORS = {
    "": frozenset(_ONNX.split()),
    "com.microsoft": frozenset(_MICROSOFT.split()),
    "com.microsoft.nchwc": frozenset(_BY_CHANNELS.split()),
    "com.ms.internal.nhwc": frozenset(_BY_CHANNELS.split()),
}
# Attributes that make a map larger than it was, and the most pixels that they may add.
_SIZES = ("pads", "kernel_shape", "strides", "dilations")
_MOST_PIXELS = 1_024
_MOST_JOINED = 1_024  # times that all of a graph's Concat together may repeat what they are given

# Field numbers of onnx.proto, message → field → message in it, as far as tensors and operators can hide there.
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


def inspect(data: memoryview, path: Path) -> str:
    """Look through a model, all its graphs included.

    Returns: the first thing in it that no network of the zoo has, in words; '' where there is nothing.

    Raises: `Damaged`; ArtifactError for tensors that are kept in other files, which could be any of this machine.
    """
    found: list[str] = []
    nodes = _inspect(data, "Model", path, 0, found)
    if nodes > _MOST_NODES:
        found.append(f"{nodes:,} operators")
    return found[0] if found else ""


def _inspect(data: memoryview, message: str, path: Path, depth: int, found: list[str]) -> int:
    """Inspect one message; gives the operators in it."""
    if depth > 4 * _DEEPEST:
        raise Damaged("its graphs are nested too deeply")
    if message == "Tensor":
        _refuse_external(data, path)
        return 0
    if message == "Function":
        found.append("a function of its own")
    nodes = 0
    if message == "Graph":
        _check_growth(data, found)
    if message == "Node":
        nodes = 1
        names = {number: text_of(value) for number, value in fields_of(data) if number in (4, 7)}
        domain, operator = names.get(7, "").removeprefix("ai.onnx"), names.get(4, "")
        if operator not in _OPERATORS.get(domain, ()):
            found.append(f"the operator {f'{domain}.' if domain else ''}{operator}")
    elif message == "Attribute":
        _check_size(data, found)
    nested = _NESTED[message]
    for number, value in fields_of(data):
        if number in nested:
            nodes += _inspect(bytes_of(value), nested[number], path, depth + 1, found)
    return nodes


def _check_growth(data: memoryview, found: list[str]) -> None:
    """Note what makes a map larger by its inputs: Pad by amounts that are no small constants, and many Concat."""
    constants = _constants(data)
    joined = 1
    for number, value in fields_of(data):
        if number != 1:
            continue
        fields = [*fields_of(bytes_of(value))]
        operator = next((text_of(content) for field, content in fields if field == 4), "")
        inputs = [text_of(content) for field, content in fields if field == 1]
        if operator == "Concat":
            joined *= max(len(inputs), 1)
            if joined > _MOST_JOINED:
                found.append(f"Concat that repeat their inputs {joined:,} times")
        if operator == "Pad" and len(inputs) > 1:  # of older operator sets the amounts are an attribute
            amounts = constants.get(inputs[1])
            if amounts is None:
                found.append("a Pad whose amounts are computed")
            elif max(amounts, default=0) > _MOST_PIXELS:
                found.append(f"a Pad of {max(amounts):,} pixels")


def _constants(graph: memoryview) -> dict[str, list[int]]:
    """The int64 tensors that a graph holds, as initializers and as Constant nodes, by name."""
    found: dict[str, list[int]] = {}
    for number, value in fields_of(graph):
        if number == 5:
            tensor = bytes_of(value)
            name = next((text_of(content) for field, content in fields_of(tensor) if field == 8), "")
            found[name] = _integers(tensor)
        elif number == 1:
            node = [*fields_of(bytes_of(value))]
            if any(field == 4 and text_of(content) == "Constant" for field, content in node):
                for field, content in node:
                    if field != 5:
                        continue
                    tensors = [inner for at, inner in fields_of(bytes_of(content)) if at == 5]
                    for output in (text_of(one) for at, one in node if at == 2):
                        found[output] = [amount for tensor in tensors for amount in _integers(bytes_of(tensor))]
    return found


def _integers(tensor: memoryview) -> list[int]:
    """The values of an int64 tensor, from its raw bytes or from its list; of another tensor, what is as large."""
    values: list[int] = []
    for number, value in fields_of(tensor):
        if number == 9:
            raw = bytes_of(value)
            if len(raw) > 8 * _MOST_NODES:
                return []  # weights
            values += [int.from_bytes(raw[at : at + 8], "little", signed=True) for at in range(0, len(raw), 8)]
        elif number == 7:
            several = [value] if isinstance(value, int) else _packed(value)
            values += [one - 2**64 if one >= 2**63 else one for one in several]
    return values


def _check_size(data: memoryview, found: list[str]) -> None:
    """Note an attribute that makes a map far larger than it was."""
    name = next((text_of(value) for number, value in fields_of(data) if number == 1), "")
    if name not in _SIZES:
        return
    for number, value in fields_of(data):
        if number != 8:
            continue
        for size in [value] if isinstance(value, int) else _packed(value):
            if size > _MOST_PIXELS:
                found.append(f"{name} of {size - 2**64 if size >= 2**63 else size:,} pixels")


def _packed(values: memoryview) -> Iterator[int]:
    at = 0
    while at < len(values):
        value, at = _varint(values, at)
        yield value


def _refuse_external(data: memoryview, path: Path) -> None:
    """Refuse a tensor that is kept in another file."""
    for number, value in fields_of(data):
        if number == 13 or (number == 14 and value != 0):
            location = dict(fields_of(bytes_of(value))).get(2, memoryview(b"")) if number == 13 else memoryview(b"")
            where = f" {text_of(location)!r}" if len(bytes_of(location)) else ""
            raise ArtifactError(
                f"{path} keeps weights in another file{where}: only files that hold everything are read; "
                "onnx.save(onnx.load(FILE), NEW_FILE) puts them into one"
            )


# ------------------------------------------------------------------------------------------------------- wire format


class Damaged(Exception):
    """The bytes are not protobuf, or stop early."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise Damaged("it stops within a number")
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    raise Damaged("a number does not end")


def fields_of(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
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
            raise Damaged(f"a field of kind {kind}")
        if size > len(data) - at:
            raise Damaged(f"{size - (len(data) - at):,} bytes are missing")
        yield number, data[at : at + size]
        at += size


def text_of(value: int | memoryview) -> str:
    return bytes(bytes_of(value)).decode("utf-8")


def bytes_of(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise Damaged("a number in place of a text or message")
    return value
