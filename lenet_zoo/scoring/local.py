"""The local engine: one process per core."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from lenet_zoo._cores import cores
from lenet_zoo.errors import ScoringError
from lenet_zoo.scoring.scorer import Result, Scorer

__all__ = ["run"]

_SPAWN = get_context("spawn")  # threads of onnxruntime and pyarrow do not survive a fork
_MOST_DEATHS = 5
_GUARD = '; and a script that calls score does so under `if __name__ == "__main__":`, as each worker imports it'
Task = tuple[int, int]
"""Number of a unit, and where it stands in the job's list."""


def run(root: str, out: str, tasks: Iterator[Task], count: int, workers: int | None) -> Generator[Result, None, None]:
    """Score `count` units in `workers` processes, by default one per core; results come as they are ready.

    A process that dies is replaced and its unit done again. At most twice as many units as workers are queued.

    Raises: ScoringError when processes cannot be started, or die again and again without one unit getting done.
    """
    again: deque[Task] = deque()
    deaths, any_done = 0, False
    workers = min(count, workers or cores())
    while True:
        running: dict[Future[Result], Task] = {}
        with _pool(root, out, workers) as pool:
            try:
                while True:
                    while len(running) < 2 * workers:
                        task = again.popleft() if again else next(tasks, None)
                        if task is None:
                            break
                        try:
                            with _starting():
                                running[pool.submit(_score, *task)] = task
                        except BrokenProcessPool:
                            again.append(task)
                            raise
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        result = future.result()
                        del running[future]
                        deaths, any_done = 0, True
                        yield result
            except BrokenProcessPool:
                # One death breaks the pool. Only the units under way are lost, and done again.
                deaths += 1
                again.extend(running.values())
        if deaths == _MOST_DEATHS:
            units = ", ".join(str(unit) for unit, _ in sorted(again))
            raise ScoringError(
                f"{deaths} worker processes died one after the other, at one of the parts {units}: is there memory "
                "enough? Fewer --workers take less" + ("" if any_done else _GUARD)
            )


@contextmanager
def _starting() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # it names no file, and would pass for one of the folder of answers
        raise ScoringError(f"worker processes cannot be started: {error.strerror or error}") from error


@contextmanager
def _pool(root: str, out: str, workers: int) -> Iterator[ProcessPoolExecutor]:
    # Workers exit as soon as this end of the pipe closes: when the job is given up, and when its process is killed.
    with _starting():
        theirs, ours = _SPAWN.Pipe(duplex=False)
        pool = ProcessPoolExecutor(workers, mp_context=_SPAWN, initializer=_start, initargs=(root, out, theirs))
    try:
        yield pool
        pool.shutdown()
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()


_scorer: Scorer | None = None
_why_not = ""


def _start(root: str, out: str, alive: Connection) -> None:
    global _scorer, _why_not
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent answers Ctrl-C
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    try:
        _scorer = Scorer(root, out)
    except Exception as error:  # raised here, it would end this process, and nobody would know why
        _why_not = f"a worker could not start: {' '.join(str(error).split()) or type(error).__name__}"


def _end_with(alive: Connection) -> None:
    try:
        alive.poll(None)
    finally:
        os._exit(1)


def _score(unit: int, offset: int) -> Result:
    return _scorer(unit, offset) if _scorer is not None else Scorer.failed(unit, _why_not)
