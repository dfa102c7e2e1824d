"""How contestants are timed side by side, and what machine they ran on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from lenet_zoo._cores import cores

__all__ = ["Call", "interleave", "machine"]

# A turn lasts at least this long: a single picture takes microseconds, and is timed over many calls.
_TURN_SECONDS = 0.03
# The threads of the contestant before go on waiting for more work, onnxruntime's for tens of milliseconds. Without a
# pause they would take a core from the next contestant.
_PAUSE_SECONDS = 0.1

Call = Callable[[], object]


def machine() -> dict[str, str]:
    """The processor, how many cores this process may use, and the versions of what computes."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux
    packages = {name: version(name) for name in ("torch", "onnxruntime", "numpy")}
    return {"processor": processor, "cores": str(cores()), "python": platform.python_version(), **packages}


def interleave(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Let every contestant take its turn in every round; returns the seconds of one call, per contestant and round.

    A turn is one call to warm up, not timed, and then as many calls as fill 30 ms.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(_PAUSE_SECONDS)
            call()
            done, start = 0, time.perf_counter()
            while True:
                call()
                done += 1
                elapsed = time.perf_counter() - start
                if elapsed >= _TURN_SECONDS:
                    break
            times[name].append(elapsed / done)
    return times
