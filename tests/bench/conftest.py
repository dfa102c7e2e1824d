"""Turns as short as they can be."""

import pytest

from lenet_zoo.bench import timing


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(timing, "_PAUSE_SECONDS", 0.0)
