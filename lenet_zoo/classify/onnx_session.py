"""Sessions of onnxruntime: what a file is asked before it is run, and how one lives through a fork."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lenet_zoo._onnxruntime import load_onnxruntime
from lenet_zoo.classify.onnx_file import OnnxFile
from lenet_zoo.classify.onnx_graph import Damaged, Node, nodes_of, with_all_maps
from lenet_zoo.errors import ArtifactError, InputError

__all__ = ["Provider", "Running", "cannot_run", "refuse_unusual"]

# An execution provider of onnxruntime: its name, or its name and options, as of onnxruntime.InferenceSession.
Provider = str | tuple[str, Mapping[str, Any]]

_ACCELERATORS = ("CUDAExecutionProvider", "OpenVINOExecutionProvider")
# Of all maps together, as if none was freed: networks of the zoo take 6 MB for 48 pictures of 28×28, so that pictures
# of 448×448 pass as well.
_MOST_BYTES = 2 << 30
_BYTES = {
    f"tensor({name})": size
    for size, names in {
        1: "bool int8 uint8",
        2: "float16 bfloat16 int16 uint16",
        4: "float int32 uint32",
        8: "double int64 uint64",
    }.items()
    for name in names.split()
}
_MOST_BYTES_EACH = 64  # of a text
# Of all operators together, as `_work` counts: networks of the zoo take 0.02 thousand million steps for 48 pictures of
# 28×28, 1.2 for lines, and 34 for pictures of 448×448. A core takes one to twenty thousand million a second.
_MOST_WORK = 50_000_000_000


class Running:
    """What runs a file in one process: onnxruntime's session, a pool of threads, and the buffers of single pictures.

    None of it is used after a fork. The child has no threads but the one that forked, and a lock that another thread
    held in the session then is never released: with two threads busy, 1 of 150 children hung that used the session.

    Args:
        file: what to run.
        providers: as for `OnnxClassifier`.
        before: that of the process which forked this one. It is kept, because freeing it takes its locks.
    """

    def __init__(self, file: OnnxFile, providers: Sequence[Provider] | None, before: Running | None = None) -> None:
        self.pid = os.getpid()
        self.session = _session(file, providers)
        self.one = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        self._before = before

    def threads(self, count: int) -> ThreadPoolExecutor:
        # Two threads that come here at once may make a pool each; the one that is not kept ends with its last user.
        if self._pool is None:
            self._pool = ThreadPoolExecutor(count, thread_name_prefix="lenet_zoo")
        return self._pool


def refuse_unusual(
    file: OnnxFile, providers: Sequence[Provider] | None, sizes: Sequence[int], who_runs_it: str
) -> None:
    """Refuse a file that could take any time or memory, before anything in it is run.

    Args:
        file: of which `unusual` is one reason; maps that take over 2 GiB in all, and the work to make them, are others.
        providers: as for `Running`.
        sizes: of what is fed at once, by axis, where the file leaves them open.
        who_runs_it: what the error's line ends in.

    Raises: ArtifactError, also for a file that onnxruntime cannot run.
    """
    unusual = file.unusual or _unusual_size(file, providers, sizes)
    if unusual:
        raise ArtifactError(
            f"{file.path} has {unusual}, which no network of the zoo has and which could take any time and memory: if "
            f"it is from somebody you trust, {who_runs_it}"
        )


def _unusual_size(file: OnnxFile, providers: Sequence[Provider] | None, sizes: Sequence[int]) -> str:
    """What is wrong with the sizes of a file's maps, or with the work that they take, in words, or ''.

    onnxruntime works them out when it opens a file and runs nothing then, as long as it is not to optimise.
    """
    total = 0
    shapes: dict[str, list[Any]] = {}
    try:
        only_sizes, nodes = with_all_maps(file.data, sizes), list(nodes_of(file.data))
    except (Damaged, UnicodeDecodeError) as error:  # in what `inspect` has no need to read
        raise ArtifactError(f"{file.path} is truncated or damaged: {error}") from error
    session = _session(file, providers, only_sizes)
    for value in [*session.get_inputs(), *session.get_outputs()]:
        shape = value.shape if isinstance(value.shape, list) else [None]
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            return f"a map {value.name!r} whose size is known only when it is run"
        total += math.prod(shape) * _BYTES.get(value.type, _MOST_BYTES_EACH)
        shapes[value.name] = shape
    if total > _MOST_BYTES:
        return f"maps of {total / 1e9:,.1f} GB"
    work = sum(_work(node, shapes) for node in nodes)
    return f"operators of {work / 1e9:,.0f} thousand million steps" if work > _MOST_WORK else ""


def _work(node: Node, shapes: Mapping[str, Sequence[int]]) -> int:
    """How many values an operator looks at, at most: all of its inputs once, or for each output what goes into it."""
    taken = [shapes.get(name, ()) for name in node.inputs]
    each = math.prod(node.window)
    if "Conv" in node.operator:
        each = math.prod(taken[3 if node.operator == "QLinearConv" else 1][1:])
    elif "MatMul" in node.operator or "Gemm" in node.operator:
        each = max(taken[0][-2:], default=1)
    given = sum(math.prod(shapes.get(name, ())) for name in node.outputs)
    return max(given * each, sum(map(math.prod, taken)))


def _session(file: OnnxFile, providers: Sequence[Provider] | None, only_sizes: bytes | None = None) -> Any:
    """A session of the file; or of `only_sizes`, which was made of it and will not be run."""
    onnxruntime = load_onnxruntime()

    available = onnxruntime.get_available_providers()
    if providers is None:
        providers = [name for name in _ACCELERATORS if name in available] + ["CPUExecutionProvider"]
    if isinstance(providers, str):
        raise InputError(f"providers={providers!r}: give a list of names, as [{providers!r}]")
    for provider in providers:
        name = provider[0] if _has_options(provider) else provider
        if name not in available:
            raise InputError(f"providers: {name!r} is not in this onnxruntime, which has {', '.join(available)}")
    options = onnxruntime.SessionOptions()
    # One thread per run: `OnnxClassifier` spreads pieces over threads itself, which scales where the threads within
    # operators this small do not.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    if only_sizes is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return onnxruntime.InferenceSession(only_sizes or file.data, options, providers=list(providers))
    except Exception as error:  # onnxruntime's own exceptions have no common base but this one
        raise cannot_run(file, error) from error


def _has_options(provider: object) -> bool:
    return isinstance(provider, tuple) and len(provider) == 2 and isinstance(provider[1], Mapping)


def cannot_run(file: OnnxFile, error: Exception) -> ArtifactError:
    onnxruntime = load_onnxruntime()

    what = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
    sets = ", ".join(f"{name or 'ai.onnx'} {version}" for name, version in file.opsets.items())
    return ArtifactError(
        f"{file.path} cannot be run by onnxruntime {onnxruntime.__version__} (operator set {sets}): {what}"
    )
