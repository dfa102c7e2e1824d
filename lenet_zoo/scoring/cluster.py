"""The engine on a cluster: Ray Data hands the units to actors, which write their parts to storage that all share."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lenet_zoo._cores import cores
from lenet_zoo.errors import InputError, MissingExtraError, ScoringError, to_install
from lenet_zoo.scoring.folder import tries_folder
from lenet_zoo.scoring.inputs.kind import reason
from lenet_zoo.scoring.scorer import Result, Scorer

__all__ = ["ENVIRONMENT", "engine"]

_CONNECT_SECONDS, _JOIN_SECONDS = 5, 30
_LOOK_SECONDS, _MOST_MISSES = 5, 3  # of the head that every cluster has; Ray itself waits for it for a minute
_STORE_BYTES = 100_000_000  # only the numbers of units go through Ray
_MOST_TRIES = 5
_MOST_BLOCKS = 10_000

# Ray sends no usage report, draws no progress bars, and does not report on stderr what it recovers from.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}

_JOIN = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"


def engine(address: str | None) -> Callable[..., Generator[Result, None, None]]:
    """The engine's function, as `lenet_zoo.scoring.local.run`, on the cluster at `address` or one of its own.

    Raises:
        MissingExtraError: Ray Data is not installed.
        ScoringError: the cluster cannot be reached, or what answers is none.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data  # needs more packages than Ray does
    except ImportError as error:
        raise MissingExtraError(f"the engine ray needs Ray Data: {to_install('ray')}") from error
    if address is not None and not ray.is_initialized():
        _check(address)

    def run(
        root: str, out: str, tasks: Iterator[tuple[int, int]], count: int, workers: int | None
    ) -> Generator[Result, None, None]:
        with _session(address, workers), _watched():
            yield from _results(root, out, tasks, count, workers or int(ray.cluster_resources().get("CPU", 1)))

    return run


def _check(address: str) -> None:
    """Check that a cluster answers: Ray itself waits for minutes, or ends the process, when none does."""
    if "://" in address:
        raise InputError(f"address {address!r}: give HOST:PORT of the cluster's head, or 'auto'")
    if address != "auto":
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdigit():
            raise InputError(f"address {address!r}: give HOST:PORT of the cluster's head, or 'auto'")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            late = isinstance(error, TimeoutError)
            raise _absent(address, f"no answer within {_CONNECT_SECONDS} s" if late else reason(error)) from None
    try:
        joined = subprocess.run(
            [sys.executable, "-c", _JOIN, address], capture_output=True, text=True, timeout=_JOIN_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise _absent(address, f"no answer of one within {_JOIN_SECONDS} s") from None
    if joined.returncode:
        if "auth token" in joined.stderr.lower() or "authentication token" in joined.stderr.lower():
            raise ScoringError(
                f"the Ray cluster at {address} asks for its token: set RAY_AUTH_MODE=token, with the token of its head "
                "in ~/.ray/auth_token or RAY_AUTH_TOKEN"
            )
        last = (joined.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise _absent(address, last.partition("Error: ")[2] or last)


def _absent(address: str, why: str) -> ScoringError:
    where = "on this machine" if address == "auto" else f"at {address}"
    return ScoringError(
        f"no Ray cluster {where}: {why.split('. ')[0].rstrip('.')}; start one with `ray start --head`, or leave out "
        "--address"
    )


@contextmanager
def _session(address: str | None, workers: int | None) -> Iterator[None]:
    """Join the cluster, or start one of our own. A session that the caller has opened is used and left open."""
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = dict(logging_level=logging.ERROR, log_to_driver=False)
    if address is None:
        options |= dict(
            address="local",
            num_cpus=workers or cores(),
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
        )
    else:
        options["address"] = address
    with _silence():
        ray.init(**options)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _watched() -> Iterator[None]:
    """Look whether the cluster's head is there: where it is gone, Ray ends this process without a word."""
    import ray

    over = threading.Event()
    address = ray.get_runtime_context().gcs_address
    threading.Thread(target=_watch, args=(address, over), daemon=True, name="lenet_zoo-head").start()
    try:
        yield
    finally:
        over.set()


def _watch(address: str, over: threading.Event) -> None:
    host, _, port = address.rpartition(":")
    misses = 0
    while misses < _MOST_MISSES:
        if over.wait(_LOOK_SECONDS):
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
            misses = 0
        except OSError:
            misses += 1
    warnings.warn(
        f"the head of the Ray cluster at {address} does not answer any more: Ray ends this process within a minute "
        "unless it comes back; the parts that are done are kept: start the same command again to go on",
        RuntimeWarning,
        stacklevel=2,
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Close stderr, where Ray's core reports that its log is off. Failures still come as exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _results(root: str, out: str, tasks: Iterator[tuple[int, int]], count: int, workers: int) -> Iterator[Result]:
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    units = ray.data.from_items(
        [{"unit": unit, "offset": offset} for unit, offset in tasks], override_num_blocks=min(count, _MOST_BLOCKS)
    )
    scored = units.map_batches(
        _Actor,
        fn_constructor_args=(root, out),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(count, workers)),
        num_cpus=1,
    )
    done = 0
    try:
        for row in scored.iter_rows():
            done += 1
            yield {**row, "error": row["error"] or None}
    except ray.exceptions.RayError as error:
        if isinstance(error, ray.exceptions.RayTaskError):
            raise
        raise ScoringError(
            f"the Ray cluster failed after {done:,} of {count:,} parts ({type(error).__name__}): start the same "
            "command again to go on"
        ) from error


class _Actor:
    """A scorer as Ray Data calls it: a batch is one unit, a column per field."""

    def __init__(self, root: str, out: str) -> None:
        self.scorer = Scorer(root, out)
        self.tries = tries_folder(Path(out))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        unit, offset = int(batch["unit"][0]), int(batch["offset"][0])
        # Ray replaces an actor that dies and gives its unit to the next one, however often. So each try leaves a mark.
        if len(list(self.tries.glob(f"{unit}-*"))) >= _MOST_TRIES:
            result = self.scorer.failed(
                unit, f"part {unit} was the end of {_MOST_TRIES} workers: is there memory enough?"
            )
        else:
            mark = self.tries / f"{unit}-{uuid.uuid4().hex}"
            mark.touch()
            result = self.scorer(unit, offset)
            mark.unlink(missing_ok=True)
        return {name: [value or "" if name == "error" else value] for name, value in result.items()}
