"""`OnnxClassifier`: pictures to labels, with an exported file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo._cores import threads_of
from lenet_zoo.classify.answers import Classifier
from lenet_zoo.classify.onnx_file import card_in, metadata_of, read_file
from lenet_zoo.classify.onnx_session import Provider, Running, cannot_run, refuse_unusual
from lenet_zoo.errors import ArtifactError
from lenet_zoo.pictures.preparation import LINE

__all__ = ["OnnxClassifier", "normalization_of"]

# Pictures per run, fewest and most. The maps of 48 fit in a core's cache, and share a run's fixed cost. For several
# cores an array is cut finer, down to 16: fewer are not worth a thread's time. A GPU wants many at once.
_PIECE = (16, 48)
_PIECE_DEVICE = (4096, 4096)
_FEW = 4  # pieces per worker up to which the calling thread only waits
_USUAL_PICTURES = (_PIECE[1], 1, 28, 28)  # N × C × H × W, of which the memory of a file's maps is reckoned
_NUMPY_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}
_FLOATS = ("float32", "float16")


class OnnxClassifier(Classifier):
    """Runs a file of `lenet_zoo.export_onnx`, or what usual tools made of one: quantized, in float16, with a fixed
    batch, or optimised by onnxruntime.

    One object may be used by many threads at once, in a process forked after it was made, and in a copy of it (by
    `pickle` or `copy`), which needs no file. Large arrays are cut into pieces that fit a core's cache, and the pieces
    are shared among `threads` threads.

    Args:
        path: the .onnx file.
        threads: how many cores a large array may take; by default all that this process may use.
        providers: onnxruntime's execution providers in order of preference, each a name, or a pair of name and options;
            by default CUDA's and OpenVINO's where the installed onnxruntime has them, then the CPU's.
        trusted: run any operators, whatever memory they take, of a file of up to 2 GiB; by default only what networks
            of the zoo, and what usual tools make of them, have, of a file of up to 16 MB.

    Attributes:
        path: the file.
        metadata: what the file says of itself, as `read_metadata` returns it.
        card: what the metadata say of the network.
        labels: one text per class.
        size: height and width of the pictures that it takes.
        providers: those that the session uses.
        threads: as above.

    Raises:
        ArtifactError: a file that is missing, not ONNX, truncated, of another network, with weights outside the file,
            or that the installed onnxruntime cannot run.
        InputError: an impossible number of threads, or a provider that is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        providers: Sequence[Provider] | None = None,
        trusted: bool = False,
    ) -> None:
        self.threads = threads_of(threads)
        file = read_file(path, trusted)
        if not trusted:
            refuse_unusual(
                file,
                providers,
                _USUAL_PICTURES,
                "lenet_zoo.OnnxClassifier(FILE, trusted=True) runs it, as do `predict` and `evaluate` with --trusted",
            )
        self.path = file.path
        self.metadata = dict(
            metadata_of(file), opset=file.opsets.get(""), ir_version=file.ir_version, bytes=len(file.data)
        )
        self.card = card_in(self.metadata, file.path)
        if self.card.preparation.kind == LINE:
            raise ArtifactError(f"{self.path} reads numbers: take lenet_zoo.OnnxReader or `lenet-zoo read`")
        self._file, self._wanted_providers = file, providers
        self._open()
        self._read_signature()

    def _open(self) -> None:
        self._running = Running(self._file, self._wanted_providers)
        self.providers: tuple[str, ...] = tuple(self._running.session.get_providers())
        self._piece = _PIECE if self.providers[0] == "CPUExecutionProvider" else _PIECE_DEVICE

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_running"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def _read_signature(self) -> None:
        """Check that the graph is what its metadata says, so that no later call can fail on it."""
        convention, damaged = self.metadata["input"], f"{self.path} is damaged: "
        outputs = {output.name: output for output in self._running.session.get_outputs()}
        if "logits" not in outputs:
            raise ArtifactError(f"{self.path} has no output layer: its outputs are {', '.join(outputs)}")
        declared = tuple(convention.get(key) for key in ("name", "dtype", "shape"))
        inputs = [(x.name, _NUMPY_TYPES.get(x.type, x.type), x.shape) for x in self._running.session.get_inputs()]
        if len(inputs) != 1 or not _alike(inputs[0], declared):
            raise ArtifactError(f"{damaged}the graph takes {inputs}, its metadata says {declared}")
        self._input, self._dtype, shape = inputs[0]
        batch, picture = shape[:1], shape[1:]
        if batch == [0] or len(picture) != 3 or not all(isinstance(size, int) for size in picture):
            raise ArtifactError(f"{damaged}its input has shape {shape}, and not batch × channels × height × width")
        self._batch: int | None = batch[0] if isinstance(batch[0], int) else None  # pictures per run, where it is fixed
        self.channels, self.size = picture[0], (picture[1], picture[2])
        if min(picture) < 1:
            raise ArtifactError(
                f"{damaged}its pictures of {self.channels}×{self.size[0]}×{self.size[1]} have no pixels"
            )
        kind, answer = outputs["logits"].type, outputs["logits"].shape
        self._answers = _NUMPY_TYPES.get(kind, kind)
        if self._answers not in _FLOATS:
            raise ArtifactError(f"{damaged}its logits are {kind}, and not floats")
        if len(answer) == 4:
            raise ArtifactError(f"{self.path} answers at every position (global_pool=''): run it with onnxruntime")
        if len(answer) != 2 or answer[1] != len(self.labels):
            raise ArtifactError(f"{damaged}its logits have shape {answer}, and it has {len(self.labels)} labels")
        self._scale: NDArray[np.float32] | None = None
        if self._input != "pixels":
            self._scale, self._offset = normalization_of(convention, self.channels, self.path)

    def predict_logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's logits of each picture as it stands: float32 N×classes, larger is better."""
        pixels = self._checked(pixels)
        running = self._here()
        share = -(-len(pixels) // self.threads)
        least, most = self._piece
        piece = self._batch or min(most, max(least, share))
        if len(pixels) <= piece:
            return self._run(running, pixels)
        out = np.empty((len(pixels), len(self.labels)), np.float32)
        starts = range(0, len(pixels), piece)
        workers = min(self.threads, len(starts))
        if workers == 1:
            self._run_share(running, pixels, out, starts, itertools.count())
            return out
        # Each worker takes the next piece when it is done with one; next() of a count is atomic. The caller is one of
        # them where there are many pieces. Of few it only waits: a thread that it wakes and then competes with may not
        # leave its core before they are done.
        counter = itertools.count()
        pool = running.threads(self.threads)
        joins = len(starts) > _FEW * workers
        others = workers - 1 if joins else workers
        jobs = [pool.submit(self._run_share, running, pixels, out, starts, counter) for _ in range(others)]
        if joins:
            self._run_share(running, pixels, out, starts, counter)
        for job in jobs:
            job.result()
        return out

    def _here(self) -> Running:
        """The session of this process: a new one in a process that was forked since the last call."""
        if self._running.pid != os.getpid():
            self._running = Running(self._file, self._wanted_providers, before=self._running)
        return self._running

    def _run_share(
        self, running: Running, pixels: NDArray[np.uint8], out: NDArray[np.float32], starts: range, turn: Any
    ) -> None:
        for i in turn:
            if i >= len(starts):
                return
            piece = slice(starts[i], starts[i] + starts.step)
            out[piece] = self._run(running, pixels[piece])

    def _run(self, running: Running, piece: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(piece)
        if self._batch and count < self._batch:
            piece = np.resize(piece, (self._batch, *piece.shape[1:]))  # filled up with the same pictures
        try:
            if len(piece) == 1:
                logits = self._run_one(running, piece)
            else:
                logits = running.session.run(["logits"], {self._input: self._fed(piece)})[0][:count]
        except Exception as error:  # as in `_session`
            raise cannot_run(self._file, error) from error
        if np.count_nonzero(np.isfinite(logits)) < logits.size:  # several times as fast as all()
            raise ArtifactError(f"{self.path} answers with values that are not finite (nan or inf): export it again")
        return logits.astype(np.float32, copy=False)

    def _run_one(self, running: Running, piece: NDArray[np.uint8]) -> NDArray[Any]:
        """Run one picture in buffers that are bound once: passing an array would take longer than the network."""
        one = running.one
        if not hasattr(one, "binding"):
            one.taken = np.empty((1, self.channels, *self.size), self._dtype)
            one.given = np.empty((1, len(self.labels)), self._answers)
            binding = running.session.io_binding()
            for bind, name, array in (
                (binding.bind_input, self._input, one.taken),
                (binding.bind_output, "logits", one.given),
            ):
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
            one.binding = binding  # last: what an interrupt left half bound is not used
        one.taken[...] = piece if self._scale is None else self._fed(piece)
        running.session.run_with_iobinding(one.binding)
        logits: NDArray[Any] = one.given.copy()
        return logits

    def _fed(self, piece: NDArray[np.uint8]) -> NDArray[Any]:
        """A piece as the graph takes it: N×C×H×W, contiguous, normalised here if the graph does not."""
        if piece.shape[1] != self.channels:
            piece = np.repeat(piece, self.channels, axis=1)
        values = piece if self._scale is None else piece * self._scale + self._offset
        return np.ascontiguousarray(values, self._dtype)


def normalization_of(
    convention: dict[str, Any], channels: int, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and offset, C×1×1, that make a graph's normalised input of pixels 0 … 255.

    Raises: ArtifactError for metadata without them.
    """
    try:
        mean, std = (np.array(convention[key], np.float64).reshape(-1, 1, 1) for key in ("mean", "std"))
        with np.errstate(all="ignore"):
            scale, offset = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
        if len(mean) != channels or len(std) != channels or not np.isfinite(scale).all():
            raise ValueError
    except (KeyError, TypeError, ValueError):
        what = f"mean and std of its metadata are not {channels} usable numbers each"
        raise ArtifactError(f"{path} is damaged: {what}") from None
    return scale, offset


def _alike(found: tuple[Any, ...], declared: tuple[Any, ...]) -> bool:
    """Whether a graph's input (name, dtype, shape) is the declared one, but for what usual tools change.

    They fix the batch, and make float32 float16.
    """
    (name, dtype, shape), (_, wanted, sizes) = found, declared
    same = dtype == wanted or (dtype in _FLOATS and wanted in _FLOATS)
    return name == declared[0] and same and isinstance(sizes, list) and shape[1:] == sizes[1:]
