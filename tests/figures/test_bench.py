"""A benchmark's file is read, and every rate in it is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lenet_zoo import figures
from lenet_zoo.errors import DataError

from .conftest import texts


def benchmark() -> dict[str, object]:
    rows = [
        dict(threads=1, batch=1024, name="torch eager", pictures_per_second=14_600.0),
        dict(threads=1, batch=1024, name="ours, onnxruntime", pictures_per_second=104_000.0),
        dict(threads=1, batch=1, name="torch eager", pictures_per_second=950.0),
    ]
    return dict(model="net", rounds=15, machine={"processor": "a processor", "torch": "2"}, rows=rows)


def test_bench_draws_every_rate_and_leaves_a_gap_for_an_absent_one(tmp_path: Path) -> None:
    figure = figures.bench(benchmark())
    rates = {axes.get_title(loc="left"): [bar.get_width() for bar in axes.patches] for axes in figure.axes}
    assert rates == {"1 thread, batch 1": [950, 0], "1 thread, batch 1,024": [14_600, 104_000]}
    assert {"950", "–", "15 k", "104 k", "net: pictures per second"} <= {*texts(figure)}
    assert "a processor, torch 2\nmedian of 15 interleaved rounds" in texts(figure)
    (tmp_path / "bench.json").write_text(json.dumps(benchmark()))
    assert figures.read_bench(tmp_path / "bench.json") == benchmark()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 1, "rounds": 1, "machine": {}, "rows": [{}]}'])
def test_what_is_no_benchmark(tmp_path: Path, text: str) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(DataError, match=r"bench\.json is not a benchmark: `lenet-zoo bench inference --json"):
        figures.read_bench(tmp_path / "bench.json")
    with pytest.raises(DataError, match=r"there is no benchmark .*missing"):
        figures.read_bench(tmp_path / "missing")
