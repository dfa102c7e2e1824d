"""Several processes, one job: how they start, agree, fail and end together.

Accelerate spreads a run over the processes that `torchrun` starts. What it leaves open is here: what one of them does
alone and the others must know of, and that whatever happens to one of them ends all, with one clear line.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState

from lenet_zoo.errors import InputError, LenetZooError, MissingExtraError, TrainingError, UnknownModelError

__all__ = ["accelerator_for", "job"]

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


def accelerator_for(device: str = "auto") -> Accelerator:
    """The devices and processes that a run is spread over.

    Args:
        device: 'auto' (the best there is), 'cpu', 'cuda' or 'mps'.

    Raises: InputError for a device that this machine does not have.
    """
    available = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device, False):
        have = ", ".join(name for name, there in available.items() if there)
        raise InputError(f"no device {device!r} here: take one of {have}")
    # Accelerate keeps one state per process, and a run before this one may have asked for another device.
    on_cpu = device == "cpu" or not (available["cuda"] or available["mps"])
    if AcceleratorState._shared_state and (AcceleratorState().device.type == "cpu") != on_cpu:
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=[InitProcessGroupKwargs(timeout=_patience())])
    if device != "auto" and accelerator.device.type != device:
        raise InputError(f"device {device!r} was asked for, and {accelerator.device.type!r} is what Accelerate gives")
    return accelerator


@contextmanager
def job(device: str = "auto") -> Iterator[bool]:
    """What one command line does, in all processes that run it; gives whether this one is to print the result.

    All leave together. When one fails, one line is said on each machine, by the process that failed first; the others
    end silently, with the same status. In one process nothing of this happens.
    """
    voice = None
    before = signal.getsignal(signal.SIGTERM)
    try:
        accelerator = accelerator_for(device)
        if accelerator.num_processes > 1:
            voice = _Voice()
            # torchrun ends the others so when one is gone.
            signal.signal(signal.SIGTERM, _stop)
        yield accelerator.is_main_process
        # The first may still be writing: whoever goes now would take the connection away from it.
        accelerator.wait_for_everyone()
    except BaseException as error:
        if not (voice.first() if voice else os.environ.get("RANK", "0") == "0"):
            raise SystemExit(_status(error)) from None
        if isinstance(error, LenetZooError):
            _tell_torchrun(error)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
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


def _status(error: BaseException) -> int:
    return 2 if isinstance(error, InputError | MissingExtraError | UnknownModelError) else 1


def _tell_torchrun(error: LenetZooError) -> None:
    """Its summary comes last on the screen: let it say what was wrong, in place of how to enable tracebacks."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        about = dict(message=" ".join(str(error).split()), extraInfo=dict(timestamp=str(int(time.time()))))
        with suppress(OSError):
            Path(file).write_text(json.dumps(dict(message=about)), encoding="utf-8")
