"""Ray Tune, through a Monitor: `pip install ".[ecosystem]"`, then `pytest tests/ecosystem`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lenet_zoo.errors import to_install

ray = pytest.importorskip("ray", reason=f"needs Ray Tune: {to_install('ecosystem')}")
# Of what ray[tune] brings, what ray[data], with which `score` is tested, does not.
pytest.importorskip("tensorboardX", reason=f"needs Ray Tune: {to_install('ecosystem')}")

PAGE = Path(__file__).parents[2] / "docs" / "tools.md"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ray with one core. Its workers are not made nice, as they are by default: on a busy machine they never start."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    yield ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80_000_000, logging_level="ERROR")
    ray.shutdown()


def test_the_manuals_lines_search_and_report_each_epoch(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S) if "tune." in block)
    for long, short in (("num_samples=10", "num_samples=1"), ('"epochs": 5', '"epochs": 2')):
        assert code.count(long) == 1
        code = code.replace(long, short)
    monkeypatch.setenv("HOME", str(tmp_path))  # results go to ~/ray_results
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, str(PAGE), "exec"), names)
    best = names["found"].get_best_result()
    assert 1e-4 <= best.config["lr"] <= 1e-2
    assert best.metrics["training_iteration"] == 2
    assert best.metrics["validation_accuracy"] > 0.9
    assert len(list(tmp_path.glob("runs/*/card.json"))) == 1
