"""The ranks of a training job: where each computes, what they do together, and how they end together.

torchrun starts the processes and torch.distributed connects them; gloo carries what is on CPUs, NCCL what is on GPUs.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lenet_zoo.errors import InputError, LenetZooError, TrainingError, exit_status

__all__ = ["ALONE", "Ranks", "connected", "find_ranks", "has_bf16", "job"]

T = TypeVar("T")
R = TypeVar("R")

_LOST = (
    "another process of this job was lost, or the job was told to stop: what was saved is whole; "
    "go on with --resume, in as many processes as you like"
)


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is arithmetic there, and not an emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


@dataclass(frozen=True)
class Ranks:
    """This process's device and its place among the processes of the job.

    Attributes:
        device: where this process computes.
        rank: of this process, 0 … world − 1. Rank zero alone reads and writes the run's folder.
        world: how many processes the job has.
        local_rank: of this process among those on its machine.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    local_rank: int = 0

    def on_rank_zero(self, do: Callable[[], T]) -> T:
        """Call `do` on rank zero alone. Every rank gets its result (which must be picklable), or raises its error.

        Raises: what `do` raises; TrainingError when a process is lost meanwhile.
        """
        if self.world == 1:
            return do()
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = do()
            except (LenetZooError, OSError) as error:
                outcome[1] = error
        with connected():
            dist.broadcast_object_list(outcome)
        result, failure = outcome
        if failure is not None:
            raise failure
        return result

    def map(self, do: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """`do` of every part, the parts being divided over the ranks. Every rank gets all results, in their order.

        Raises: TrainingError when a process is lost meanwhile.
        """
        if self.world == 1:
            return [do(part) for part in parts]
        mine = [do(part) for part in parts[self.rank :: self.world]]
        each: list[Any] = [None] * self.world
        with connected():
            dist.all_gather_object(each, mine)
        return [each[i % self.world][i // self.world] for i in range(len(parts))]

    def sum(self, x: Tensor) -> Tensor:
        """The sum of every rank's `x`; on one rank `x` itself."""
        if self.world == 1:
            return x
        total = x.clone()
        dist.all_reduce(total)
        return total

    @contextmanager
    def first_on_its_machine(self) -> Iterator[None]:
        """Let the first rank of each machine do something before the others: they find what it downloaded."""
        if self.world > 1 and self.local_rank > 0:
            self.wait()
        yield
        if self.world > 1 and self.local_rank == 0:
            self.wait()

    def wait(self) -> None:
        """Until every rank is here.

        Raises: TrainingError when a process is lost meanwhile.
        """
        if self.world > 1:
            with connected():
                dist.barrier()


ALONE = Ranks(torch.device("cpu"))


def find_ranks(device: str = "auto") -> Ranks:
    """Connect this process with the others of its job, if torchrun started several.

    Args:
        device: 'auto' (the best there is), 'cpu', 'cuda' or 'mps'. On GPUs each process of a machine takes its own.

    Raises:
        InputError: this machine has no such device, or fewer GPUs than processes; WORLD_SIZE is not the number of
            processes that are there, so that several would train alone and write one folder.
        TrainingError: the others did not come.
    """
    available = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device, False):
        have = ", ".join(name for name, there in available.items() if there)
        raise InputError(f"no device {device!r} here: take one of {have}")
    patience, world = _patience(), _from_torchrun("WORLD_SIZE", 1)
    if world == 1:
        return Ranks(
            torch.device(next(one for one in ("cuda", "mps", "cpu") if device in ("auto", one) and available[one]))
        )
    rank, local_rank = _from_torchrun("RANK"), _from_torchrun("LOCAL_RANK")
    if device == "mps":
        raise InputError("device 'mps' takes one process: with several, take --device cpu")
    where = torch.device("cpu")
    if device != "cpu" and available["cuda"]:
        if local_rank >= torch.cuda.device_count():
            raise InputError(
                f"{torch.cuda.device_count()} GPUs here, and more processes: start one for each, or take --device cpu"
            )
        where = torch.device("cuda", local_rank)
        torch.cuda.set_device(where)
    if not dist.is_initialized():
        try:
            dist.init_process_group("gloo" if where.type == "cpu" else "cpu:gloo,cuda:nccl", timeout=patience)
        except (RuntimeError, ValueError) as error:  # ValueError: a variable of torchrun's is missing
            raise TrainingError(f"the {world} processes of this job did not connect: {error}") from error
    if dist.get_world_size() != world:
        raise InputError(f"WORLD_SIZE={world}, and {dist.get_world_size()} processes are connected: make them equal")
    return Ranks(where, rank, world, local_rank)


def _from_torchrun(name: str, default: int | None = None) -> int:
    if name not in os.environ and default is None:
        raise InputError(f"WORLD_SIZE is set and {name} is not: start the job with torchrun, or unset WORLD_SIZE")
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise InputError(f"{name}={text}: a whole number expected, as torchrun sets it")
    return int(text)


def _patience() -> timedelta:
    """How long processes wait for each other: longer than the slowest thing that one does alone, a download."""
    text = os.environ.get("LENET_ZOO_TIMEOUT", "600")
    try:
        return timedelta(seconds=max(float(text), 1))
    except (ValueError, OverflowError):
        raise InputError(f"LENET_ZOO_TIMEOUT={text}: give seconds, such as 600") from None


# ------------------------------------------------------------------------------------------------------ end and failure


@contextmanager
def connected() -> Iterator[None]:
    """Around what ranks do together.

    Raises: TrainingError when one of them is lost or does not answer, in place of what the transport says.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, LenetZooError) or not dist.is_initialized():
            raise
        if "imed out" in str(error) or "imeout" in str(error):
            raise TrainingError(
                f"another process of this job has not answered for {_patience().total_seconds():.0f} s: what was saved "
                "is whole; go on with --resume, or let them wait longer with LENET_ZOO_TIMEOUT=SECONDS"
            ) from error
        if isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL", "onnection")):
            raise TrainingError(_LOST) from error
        raise


@contextmanager
def job(device: str = "auto") -> Iterator[bool]:
    """Run one command line on all ranks. Yields True on the rank that prints the result.

    All ranks end together. When one fails, the first to fail on each machine prints its one line; the others end
    silently, with the same exit status.
    """
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ranks = find_ranks(device)
        if several:
            # torchrun sends it to the others when one is gone.
            signal.signal(signal.SIGTERM, _stop)
        yield ranks.rank == 0
        # Rank zero may still be writing, and would lose the connection to a rank that ends now.
        ranks.wait()
    except BaseException as error:
        if several:
            on_term = signal.SIG_IGN  # this process is ending, and has something to say first
            signal.signal(signal.SIGTERM, on_term)
            if not _first_to_fail():
                _tell_torchrun("another process of this job failed first", later=1)
                raise SystemExit(exit_status(error)) from None
        _tell_torchrun(str(error) if isinstance(error, LenetZooError) else repr(error))
        raise
    finally:
        if several:
            signal.signal(signal.SIGTERM, on_term)
        if dist.is_initialized():
            # Left to the interpreter's end, the group's threads may outlive what they use: it aborts.
            dist.destroy_process_group()


def _stop(*_: object) -> NoReturn:
    raise TrainingError(_LOST)


def _first_to_fail() -> bool:
    """Whether no process of this machine has failed before. They count in torchrun's store."""
    machine, start = os.environ.get("GROUP_RANK", "0"), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=10))
        return bool(store.add(f"lenet_zoo/failed/{start}/{machine}", 1) == 1)
    except (KeyError, ValueError, RuntimeError):  # there is none, or it went with the process that held it
        return True


def _tell_torchrun(text: str, later: int = 0) -> None:
    """Its summary comes last on the screen: let it say what was wrong, in place of how to enable tracebacks.

    It takes the earliest report, in seconds, for the cause.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        about = dict(message=" ".join(text.split()), extraInfo=dict(timestamp=str(int(time.time()) + later)))
        with suppress(OSError):
            Path(file).write_text(json.dumps(dict(message=about)), encoding="utf-8")
