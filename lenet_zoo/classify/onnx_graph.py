"""What an ONNX graph holds, read from its bytes: protobuf's wire format, and the check of what would be run.

A file may come from a stranger, and onnxruntime runs whatever is in it: a loop without an end, a tensor of any size,
weights out of any file of this machine. Here every length is checked, and every operator; how large the maps become,
`onnx_session` asks before anything is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lenet_zoo.errors import ArtifactError

__all__ = ["Damaged", "Node", "bytes_of", "fields_of", "inspect", "nodes_of", "text_of", "with_all_maps"]

_DEEPEST = 20  # graphs within graphs; a network of the zoo has one
_MOST_NODES = 2_000  # operators; a network of the zoo has some dozens

# What our exports consist of and what usual tools make of them: none of these loops. ONNX's own operators, then those
# of onnxruntime.
_ONNX = """
Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvInteger DequantizeLinear Div Dropout
DynamicQuantizeLinear Exp Flatten Gather Gemm GlobalAveragePool GlobalMaxPool HardSigmoid Identity LeakyRelu LogSoftmax
MatMul MatMulInteger Max MaxPool Mean Min Mul Neg Pad QLinearConv QLinearMatMul QuantizeLinear ReduceMax ReduceMean
ReduceSum Relu Reshape Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze
"""
_MICROSOFT = """
DequantizeLinear DynamicQuantizeMatMul FusedConv FusedGemm FusedMatMul Gelu MatMulIntegerToFloat NhwcMaxPool QGemm
QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearMul QLinearSigmoid
QLinearSoftmax QuantizeLinear
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
# Attributes that let one value of a map take much work, and the most pixels of each.
_SIZES = ("pads", "kernel_shape", "strides", "dilations")
_MOST_PIXELS = 1_024

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
    if message == "SparseTensor":
        found.append("a sparse tensor")  # some bytes that stand for any number of zeros
    nodes = 0
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


def _check_size(data: memoryview, found: list[str]) -> None:
    """Note an attribute that lets one value of a map take much work."""
    name = _name_of(data)
    if name not in _SIZES:
        return
    for size in _sizes(data):
        if size > _MOST_PIXELS:
            found.append(f"{name} of {size - 2**64 if size >= 2**63 else size:,} pixels")


def _name_of(attribute: memoryview) -> str:
    # Of several names the last counts, as for those who read the file with protobuf.
    return {number: text_of(value) for number, value in fields_of(attribute) if number == 1}.get(1, "")


def _sizes(attribute: memoryview) -> Iterator[int]:
    """The numbers of an attribute that has several."""
    for number, value in fields_of(attribute):
        if number == 8:
            yield from [value] if isinstance(value, int) else _packed(value)


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


@dataclass(frozen=True)
class Node:
    """An operator: its name, the names of what it takes and gives, and the sizes of its window, where it has one."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    window: tuple[int, ...]


def nodes_of(data: bytes) -> Iterator[Node]:
    """The operators of a model of which `inspect` has found no more than it should have, so without nested graphs."""
    for number, graph in fields_of(memoryview(data)):
        if number != 7:
            continue
        for inner, node in fields_of(bytes_of(graph)):
            if inner != 1:
                continue
            fields = list(fields_of(bytes_of(node)))
            texts = {one: tuple(text_of(value) for field, value in fields if field == one) for one in (1, 2, 4)}
            windows = [window for field, value in fields if field == 5 and (window := _window(bytes_of(value)))]
            yield Node(texts[4][-1], texts[1], texts[2], windows[-1] if windows else ())


def _window(attribute: memoryview) -> tuple[int, ...]:
    """The sizes in an attribute `kernel_shape`; of another nothing."""
    return tuple(_sizes(attribute)) if _name_of(attribute) == "kernel_shape" else ()


def with_all_maps(data: bytes, sizes: Sequence[int]) -> bytes:
    """The model with every value that its operators take or give as an output, and nothing left open in its inputs.

    What the file says of the sizes of values is left out, since it may not be true.

    Args:
        data: a model of which `inspect` has found no more than it should have.
        sizes: what takes the place of a size that an input leaves open, by axis.
    """
    model: list[bytes] = []
    for number, value in fields_of(memoryview(data)):
        if number != 7:
            model.append(_field(number, value))
            continue
        graph: list[bytes] = []
        for inner, content in fields_of(bytes_of(value)):
            if inner == 11:
                content = memoryview(_with_sizes(bytes_of(content), (2, 1, 2), sizes))
            if inner not in (12, 13):  # outputs, and what is said of the values between
                graph.append(_field(inner, content))
            if inner in (1, 5):  # an operator with what it gives, and weights
                named = 2 if inner == 1 else 8
                outputs = [bytes_of(name) for field, name in fields_of(bytes_of(content)) if field == named]
                graph += [_field(12, memoryview(_field(1, name))) for name in outputs if len(name)]
        model.append(_field(7, memoryview(b"".join(graph))))
    return b"".join(model)


def _with_sizes(message: memoryview, path: Sequence[int], sizes: Sequence[int]) -> bytes:
    """A message with the open sizes of the shape that lies at `path` filled in."""
    fields: list[bytes] = []
    axis = 0
    for number, value in fields_of(message):
        if path and number == path[0]:
            value = memoryview(_with_sizes(bytes_of(value), path[1:], sizes))
        elif not path and number == 1:
            fixed = [size for field, size in fields_of(bytes_of(value)) if field == 1 and isinstance(size, int)]
            if not fixed or max(fixed) >= 2**63:  # negative, as some tools write what is open
                value = memoryview(_field(1, sizes[axis] if axis < len(sizes) else 1))
            axis += 1
        fields.append(_field(number, value))
    return b"".join(fields)


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
        if number == 0:  # there is none: of a file of zeros each byte pair would be one
            raise Damaged("a field without a number")
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


def _field(number: int, value: int | memoryview) -> bytes:
    """One field of a message: a number, or something that has a length."""
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + value


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def text_of(value: int | memoryview) -> str:
    return bytes(bytes_of(value)).decode("utf-8")


def bytes_of(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise Damaged("a number in place of a text or message")
    return value
