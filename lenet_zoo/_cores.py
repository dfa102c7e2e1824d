"""How many cores this process may use: by its affinity, and by the quotas that containers set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import SupportsIndex

from lenet_zoo.errors import InputError

__all__ = ["cores", "threads_of"]

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """How many cores this process may use, 1 or more.

    A quota of CPU time that is no whole number is rounded down: threads that the kernel stops in the middle of their
    part hold up the others.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, int(min([count, *_quotas(_GROUPS, _OWN)])))


def threads_of(threads: int | None) -> int:
    """How many threads a caller asks for, by default as many as there are cores.

    Raises: InputError for what is no whole number of at least 1.
    """
    if threads is None:
        return cores()
    if not isinstance(threads, SupportsIndex) or threads < 1:
        raise InputError(f"threads={threads!r}: a whole number, at least 1")
    return int(threads)


def _quotas(groups: Path, own: Path) -> list[float]:
    """The quotas on this process's control groups and all that hold them, in cores; none where there is no limit.

    Args:
        groups: where control groups are mounted.
        own: the file that names this process's groups: `0::/PATH` of version 2, `4:cpu,cpuacct:/PATH` of version 1.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []  # not Linux
    found = []
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers == "":
            tops = [groups, groups / "unified"]
        elif "cpu" in controllers.split(","):
            tops = [groups / "cpu", groups / controllers]
        else:
            continue
        # In a container the file may name a path of the host's, which is not mounted there: the top holds the limit.
        inner = [part for part in path.split("/") if part and part != ".."]
        for top in tops:
            for depth in range(len(inner) + 1):
                found += _quota(top.joinpath(*inner[:depth]))
    return found


def _quota(group: Path) -> list[float]:
    """The quota of one group, in cores: one number, or none."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text(encoding="utf-8") for name in files).split()
            if quota not in ("max", "-1"):
                return [int(quota) / int(period)]
        except (OSError, ValueError, ZeroDivisionError):
            pass  # there is no such file, or it is written in a way that nobody has met yet
    return []
