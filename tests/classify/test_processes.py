"""A classifier goes wherever programs take it: into forked processes, through pickle, into copies."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet_zoo.classify import OnnxClassifier

LIMIT_S = 60.0  # of what takes well under a second, unless it hangs
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
# Python 3.12 warns that threads do not survive a fork, which is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def in_child(check: Callable[[], bool]) -> None:
    """Run `check` in a forked process; fail unless it returns True within the time limit."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + LIMIT_S
    while (found := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            pytest.fail(f"the child hangs after {LIMIT_S:.0f} s")
        time.sleep(0.005)
    assert found[1] == 0


@needs_fork
@pytest.mark.parametrize("warm", [0, 1, 500])
@pytest.mark.parametrize("input", ["pixels", "normalized"])
def test_a_child_answers_as_its_parent(exported: Any, warm: int, input: str) -> None:
    classifier = OnnxClassifier(exported(input=input), threads=2)
    wanted = OnnxClassifier(exported(input=input), threads=2).predict_logits(pictures(500))
    if warm:
        classifier.predict_logits(pictures(500)[:warm])

    def check() -> bool:
        one = np.allclose(classifier.predict_logits(pictures(500)[:1]), wanted[:1], atol=1e-4)
        return one and np.allclose(classifier.predict_logits(pictures(500)), wanted, atol=1e-4)

    in_child(check)
    assert np.allclose(classifier.predict_logits(pictures(500)), wanted, atol=1e-4)


@needs_fork
def test_a_child_of_a_child(exported: Any) -> None:
    classifier = OnnxClassifier(exported(input="pixels"), threads=2)
    wanted = classifier.predict_array(pictures(200))

    def answers() -> bool:
        return np.allclose(classifier.predict_array(pictures(200)), wanted, atol=1e-6)

    def check() -> bool:
        first = answers()
        in_child(answers)
        return first

    in_child(check)


@needs_fork
def test_a_fork_while_other_threads_are_at_work(exported: Any) -> None:
    classifier = OnnxClassifier(exported(input="pixels"), threads=2)
    wanted = classifier.predict_array(pictures(100))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            classifier.predict_array(pictures(100))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            in_child(lambda: np.allclose(classifier.predict_array(pictures(100)), wanted, atol=1e-6))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("input", ["pixels", "normalized"])
def test_a_copy_needs_no_file(exported: Any, tmp_path: Path, copied: Callable[[Any], Any], input: str) -> None:
    path = tmp_path / "digits.onnx"
    path.write_bytes(Path(exported(input=input)).read_bytes())
    classifier = OnnxClassifier(path, threads=2, providers=["CPUExecutionProvider"])
    wanted = classifier.predict_array(pictures(200))
    classifier.predict_array(pictures(1))
    path.unlink()
    again = copied(classifier)
    del classifier
    np.testing.assert_allclose(again.predict_array(pictures(200)), wanted, atol=1e-6)
    np.testing.assert_allclose(again.predict_array(pictures(1)), wanted[:1], atol=1e-6)
    assert (again.path, again.labels, again.threads) == (path, tuple("0123456789"), 2)
    assert again.providers == ("CPUExecutionProvider",)


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_processes_of_a_pool_take_a_classifier(exported: Any, start: str) -> None:
    classifier = OnnxClassifier(exported(input="pixels"), threads=2)
    wanted = classifier.predict_array(pictures(100))
    with multiprocessing.get_context(start).Pool(1) as pool:
        # A method of the package: a process that was not forked cannot import this file.
        found = pool.apply_async(classifier.predict_array, (pictures(100),)).get(LIMIT_S)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
