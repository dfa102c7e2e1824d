"""Contestants take turns, and the machine that they run on is named."""

from __future__ import annotations

from importlib.metadata import version

from lenet_zoo.bench import timing


def test_turns_are_interleaved(no_waiting: None) -> None:
    order: list[str] = []
    times = timing.interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "a", "b", "b"] * 3  # one call to warm up, one timed
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}


def test_the_machine_is_named_with_its_versions() -> None:
    found = timing.machine()
    assert list(found) == ["processor", "cores", "python", "torch", "onnxruntime", "numpy"]
    assert found["processor"]
    assert int(found["cores"]) >= 1
    assert found["torch"] == version("torch")
