"""How many cores a process may use: its affinity, and the quotas of the containers that it runs in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lenet_zoo import _cores


def _here() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _machine(folder: Path, own: str, **files: str) -> None:
    """Write /proc/self/cgroup and files of the mounted groups; `__` in a name stands for a slash."""
    (folder / "own").write_text(own)
    for name, content in files.items():
        path = folder / "groups" / name.replace("__", "/").replace("-", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize(
    ("own", "files", "quotas"),
    [
        ("0::/\n", {"cpu-max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu-max": "max 100000\n"}, []),
        ("0::/\n", {"cpu-max": "whatever\n"}, []),
        ("0::/\n", {}, []),
        # The limit is on a group that holds ours, or tighter there.
        ("0::/a/b\n", {"a__cpu-max": "200000 100000\n", "a__b__cpu-max": "max 100000\n"}, [2.0]),
        ("0::/a/b\n", {"a__cpu-max": "200000 100000\n", "a__b__cpu-max": "50000 100000\n"}, [2.0, 0.5]),
        # Paths of the host, which a container does not have.
        ("0::/../../pod/box\n", {"cpu-max": "300000 100000\n"}, [3.0]),
        # Version 1, where each controller has a tree.
        (
            "5:memory:/m\n4:cpu,cpuacct:/docker/c\n0::/\n",
            {"cpu,cpuacct__cpu-cfs_quota_us": "400000\n", "cpu,cpuacct__cpu-cfs_period_us": "100000\n"},
            [4.0],
        ),
        ("1:cpu:/\n", {"cpu__cpu-cfs_quota_us": "-1\n", "cpu__cpu-cfs_period_us": "100000\n"}, []),
    ],
)
def test_quotas_of_control_groups_are_found(
    tmp_path: Path, own: str, files: dict[str, str], quotas: list[float]
) -> None:
    _machine(tmp_path, own, **files)
    assert _cores._quotas(tmp_path / "groups", tmp_path / "own") == quotas


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert _cores._quotas(tmp_path / "groups", tmp_path / "own") == []


@pytest.mark.parametrize(("quotas", "most"), [([], None), ([1.9, 40.0], 1), ([0.2], 1), ([1e6], None)])
def test_the_tightest_limit_counts_and_one_core_is_left(
    monkeypatch: pytest.MonkeyPatch, quotas: list[float], most: int | None
) -> None:
    monkeypatch.setattr(_cores, "_quotas", lambda *paths: quotas)
    assert _cores.cores() == (most or _here())
