"""Several processes, one job: how they share work, agree, fail and end together.

Accelerate spreads a run over the processes that `torchrun` starts. What it leaves open is here: what one of them does
alone and all must know of, what must not depend on their number, and that whatever happens to one of them ends the job
with one clear line.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lenet_zoo.errors import InputError, LenetZooError, TrainingError, exit_status

__all__ = [
    "Gradients",
    "WholeBatchDropout",
    "accelerator_for",
    "connected",
    "job",
    "on_main",
    "share_statistics",
    "shared",
]

T = TypeVar("T")
R = TypeVar("R")

_LOST = (
    "another process of this job was lost, or the job was told to stop: what was saved is whole; "
    "go on with --resume, in as many processes as you like"
)


def _patience() -> timedelta:
    """How long processes wait for each other: longer than the slowest thing that one does alone, a download."""
    text = os.environ.get("LENET_ZOO_TIMEOUT", "600")
    try:
        return timedelta(seconds=max(float(text), 1))
    except ValueError:
        raise InputError(f"LENET_ZOO_TIMEOUT={text}: give seconds, such as 600") from None


def _world() -> int:
    """How many processes torchrun says it has started."""
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal():
        raise InputError(f"WORLD_SIZE={text}: give a whole number, or start the job with torchrun, which sets it")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        if int(text) > 1 and name not in os.environ:
            raise InputError(f"WORLD_SIZE={text} without {name}: start the job with torchrun, or unset WORLD_SIZE")
    return int(text)


def accelerator_for(device: str = "auto") -> Accelerator:
    """The devices and processes that a run is spread over.

    Args:
        device: 'auto' (the best there is), 'cpu', 'cuda' or 'mps'.

    Raises: InputError for a device that this machine does not have, and when WORLD_SIZE is not the number of processes
        that were found: each would train alone, and all would write to one folder.
    """
    available = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device, False):
        have = ", ".join(name for name, there in available.items() if there)
        raise InputError(f"no device {device!r} here: take one of {have}")
    several = _world() > 1
    if several and device == "mps":
        raise InputError("device 'mps' takes one process: torchrun's processes need --device cpu or cuda")
    # Accelerate distributes over CPUs only where it is told to use them.
    on_cpu = device == "cpu" or not (available["cuda"] or (available["mps"] and not several))
    # It keeps one state per process, and a run before this one may have asked for another device.
    if AcceleratorState._shared_state and (AcceleratorState().device.type == "cpu") != on_cpu:
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_patience())])
    if accelerator.num_processes != _world():
        raise InputError(
            f"WORLD_SIZE={_world()} and {accelerator.num_processes} process found: start the job with torchrun, or "
            "unset WORLD_SIZE"
        )
    if device != "auto" and accelerator.device.type != device:
        raise InputError(f"device {device!r} was asked for, and {accelerator.device.type!r} is what Accelerate gives")
    return accelerator


# --------------------------------------------------------------------------------------------------------- shared work


def on_main(accelerator: Accelerator | None, do: Callable[[], T]) -> T:
    """Do something in the main process alone. All get its result; what it raises, all raise.

    Raises: what `do` raises; TrainingError when a process is lost meanwhile.
    """
    if accelerator is None or accelerator.num_processes == 1:
        return do()
    told: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            told[0] = do()
        except (LenetZooError, OSError) as error:
            told[1] = error
    with connected():
        broadcast_object_list(told)
    result, failure = told
    if failure is not None:
        raise failure
    return result


def shared(accelerator: Accelerator | None, parts: Sequence[T], do: Callable[[T], R]) -> list[R]:
    """`do` of every part, each in one of the processes; all get all results, in the order of the parts.

    Raises: TrainingError when a process is lost meanwhile.
    """
    if accelerator is None or accelerator.num_processes == 1:
        return [do(part) for part in parts]
    mine = range(accelerator.process_index, len(parts), accelerator.num_processes)
    done = [(i, do(parts[i])) for i in mine]
    with connected():
        return [result for _, result in sorted(gather_object(done), key=lambda pair: pair[0])]


class Gradients:
    """The gradients of a network as one block, which is summed over all processes while something else is done.

    What DistributedDataParallel does, for networks so small that a message costs more than its bytes and a hook for
    each parameter more than what it saves: there is one message, and the next batch is made while it is on its way.

    Args:
        model: all processes begin with the main one's weights.
    """

    def __init__(self, model: nn.Module) -> None:
        for value in model.state_dict().values():
            dist.broadcast(value, 0)
        trained = [p for p in model.parameters() if p.requires_grad]
        self.block = trained[0].new_zeros(sum(p.numel() for p in trained))
        at = 0
        for p in trained:
            p.grad = self.block.as_strided(p.size(), p.stride(), at)
            at += p.numel()
        self.work: Any = None

    def clear(self) -> None:
        self.block.zero_()

    def send(self) -> None:
        self.work = dist.all_reduce(self.block, async_op=True)

    def receive(self) -> None:
        """Raises: RuntimeError when a process is lost."""
        if self.block.device.type == "cpu":
            # Whoever sleeps for less than a millisecond wakes late; so stay awake for a moment, and give way if asked.
            until = time.perf_counter() + 0.005
            while not self.work.is_completed() and time.perf_counter() < until:
                _give_way()
        self.work.wait()


_give_way: Callable[[], None] = getattr(os, "sched_yield", lambda: None)


class WholeBatchDropout(TorchFunctionMode):
    """Dropout as one process would draw it: for the whole batch, of which every `world`-th row from `rank` on is here.

    All processes draw from equally seeded generators.
    """

    def __init__(self, whole: int, rank: int, world: int) -> None:
        super().__init__()
        self.whole, self.rank, self.world = whole, rank, world

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.dropout:
            return func(*args, **kwargs)
        x: Tensor = args[0]
        drawn = F.dropout(x.new_ones(self.whole, *x.shape[1:]), *args[1:], **kwargs)
        return x * drawn[self.rank :: self.world]


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each of them goes on with it, so that its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


class _SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch; torch's SyncBatchNorm does not work on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        channels = x.shape[1]
        # In float64, so that the variance does not suffer from the subtraction.
        parts = [x.sum((0, 2, 3), dtype=torch.float64), x.float().square().sum((0, 2, 3), dtype=torch.float64)]
        total = _Sum.apply(torch.cat([*parts, parts[0].new_tensor([x.numel() / channels])]))
        n = total[-1].detach()
        mean, square = total[:-1].reshape(2, channels) / n
        var = square - mean * mean
        with torch.no_grad():
            for running, now in ((self.running_mean, mean), (self.running_var, var * n / (n - 1))):
                running.lerp_(now.to(running.dtype), self.momentum)  # type: ignore[union-attr, arg-type]
            self.num_batches_tracked += 1  # type: ignore[operator, assignment]
        scale = self.weight * (var + self.eps).rsqrt().to(self.weight.dtype)
        shift = self.bias - mean.to(self.bias.dtype) * scale
        out: Tensor = x * scale[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)
        return out


def share_statistics(model: nn.Module) -> None:
    """Let batch normalisation see the whole batch, in place: a process's part of it alone would give other weights."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                new = _SharedBatchNorm2d(child.num_features, child.eps, child.momentum)
                new.load_state_dict(child.state_dict())
                setattr(module, name, new.train(child.training))


# ------------------------------------------------------------------------------------------------------ end and failure


@contextmanager
def connected() -> Iterator[None]:
    """Around what processes do together.

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
    """What one command line does, in all processes that run it; gives whether this one is to print the result.

    All leave together. When one fails, one line is said on each machine, by the process that failed first; the others
    end silently, with the same status. In one process nothing of this happens.
    """
    voice = None
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        accelerator = accelerator_for(device)
        if accelerator.num_processes > 1:
            voice = _Voice()
            # So torchrun ends the others when one is gone.
            signal.signal(signal.SIGTERM, _stop)
        yield accelerator.is_main_process
        # The first may still be writing: whoever goes now would take the connection away from it.
        accelerator.wait_for_everyone()
    except BaseException as error:
        if voice:
            on_term = signal.SIG_IGN  # we are leaving, and have something to say before
            signal.signal(signal.SIGTERM, on_term)
        if not (voice.first() if voice else os.environ.get("RANK", "0") == "0"):
            _tell_torchrun("another process of this job failed first", later=1)
            raise SystemExit(exit_status(error)) from None
        _tell_torchrun(str(error) if isinstance(error, LenetZooError) else repr(error))
        raise
    finally:
        if voice:
            signal.signal(signal.SIGTERM, on_term)
        if dist.is_initialized():
            # Left to the interpreter's end, the group's threads may outlive what they use: it aborts.
            dist.destroy_process_group()
            AcceleratorState._reset_state(reset_partial_state=True)


class _Voice:
    """Who of the processes on this machine was the first to fail. Asked through the store that they met at."""

    def __init__(self) -> None:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self.store = dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=10))
        machine, start = os.environ.get("GROUP_RANK", "0"), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self.key = f"lenet_zoo/failed/{start}/{machine}"

    def first(self) -> bool:
        try:
            return bool(self.store.add(self.key, 1) == 1)
        except RuntimeError:  # the store went with the process that held it
            return True


def _stop(*_: object) -> NoReturn:
    raise TrainingError(_LOST)


def _tell_torchrun(text: str, later: int = 0) -> None:
    """Its summary comes last on the screen: let it say what was wrong, in place of how to enable tracebacks.

    It takes the earliest report, in seconds, for the cause.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        about = dict(message=" ".join(text.split()), extraInfo=dict(timestamp=str(int(time.time()) + later)))
        with suppress(OSError):
            Path(file).write_text(json.dumps(dict(message=about)), encoding="utf-8")
