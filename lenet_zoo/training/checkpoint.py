"""The files of a run, written so that a killed process, a full disk or a second start loses nothing."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lenet_zoo._files import one_writer, to_make_room, write_atomic
from lenet_zoo.cards import Card
from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.models._card import weight_bytes
from lenet_zoo.models.weight_files import check_intact
from lenet_zoo.training.processes import Ranks
from lenet_zoo.training.recipe import defaults_of

__all__ = ["RunFolder", "check_folder", "check_once", "difference", "sole_writer", "threads_in"]

# Checkpoint, weights, card, log and curves of one run, with room for the new and the old checkpoint side by side.
_ROOM = 16 * 2**20


@contextmanager
def sole_writer(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Keep every other job out of the folder of a run, which is made where there is none. Rank zero holds its lock.

    Raises: TrainingError, on every rank, when another job is at work there or the folder cannot be made.
    """
    with ExitStack() as held:

        def hold() -> None:
            try:
                held.enter_context(one_writer(folder, TrainingError))
            except OSError as error:
                raise _unwritable(folder, error) from error

        ranks.on_rank_zero(hold)
        yield


def _unwritable(folder: Path, error: OSError) -> TrainingError:
    return TrainingError(f"cannot write in {folder}: {error.strerror}; name another folder")


def difference(saved: Mapping[str, Any], run: Mapping[str, Any]) -> str | None:
    """What makes a saved run another one than `run`: 'there NAME=…, here …'; None when it is the same.

    The recipe's description may be reworded. A field of the recipe that one of them lacks, because another version of
    the package wrote it, counts as at its default.

    Args:
        saved, run: fields of the recipe, and whatever else must be equal: network, data, seed.
    """
    defaults = defaults_of(run.get("method"))
    for name in sorted((saved.keys() | run.keys()) - {"description"}):
        there, here = (one.get(name, defaults.get(name)) for one in (saved, run))
        if there != here:
            return f"there {name}={there!r}, here {here!r}"
    return None


class RunFolder:
    """The folder of one run.

    `checkpoint.pt` holds the state after the last whole epoch, `log.jsonl` one line per epoch, `model.safetensors` and
    `card.json` the result.

    Raises: TrainingError when the folder cannot be made or written, or its disk has no room for a run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.pt"
        self.log = self.path / "log.jsonl"
        self.weights = self.path / "model.safetensors"
        self.card = self.path / "card.json"
        self.curves = self.path / "curves.png"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise _unwritable(self.path, error) from error
        free = shutil.disk_usage(self.path).free
        if free < _ROOM and not self.checkpoint.is_file():  # a run that was begun here replaces its own files
            raise TrainingError(
                f"{free // 2**20} MB free at {self.path}, and a run needs {_ROOM // 2**20} MB: make room, "
                "or name another folder"
            )

    def clear(self, results: Iterable[str] = ()) -> None:
        """Remove the run that the folder holds, its card first: what this class names, and `results`.

        A folder without a checkpoint and without a card holds no run, and stays as it is.
        """
        if not self.card.exists() and not self.checkpoint.exists():
            return
        events = (self.path / "tensorboard").glob("events.out.tfevents.*")
        ours = (self.card, self.weights, self.checkpoint, self.log, self.curves, *events)
        for file in (*ours, *(self.path / name for name in results)):
            file.unlink(missing_ok=True)

    def drop_log_of_nothing(self) -> None:
        """Remove the log of a run that ended before its first epoch did."""
        if not self.checkpoint.is_file():
            self.log.unlink(missing_ok=True)

    def write(self, target: Path, data: bytes | str) -> None:
        """Write one file whole or not at all.

        Raises: TrainingError when the disk is full or the folder went away; the file is then as it was before.
        """
        try:
            write_atomic(target, data)
        except OSError as error:
            advice = "make room" if to_make_room(error) else "make it writable again"
            raise TrainingError(
                f"cannot write {target}: {error.strerror}; what was saved before is whole: {advice}, "
                "then go on with --resume"
            ) from error

    def save_checkpoint(self, run: dict[str, Any], epochs: int, state: dict[str, Any]) -> None:
        """Replace the checkpoint by the state after `epochs` whole epochs of the run that `run` describes."""
        # Into memory first: a disk that fills up is then an ordinary OSError, and the old file is still there.
        buffer = io.BytesIO()
        torch.save(dict(run=run, **_workers(), epochs=epochs, **state), buffer)
        self.write(self.checkpoint, buffer.getvalue())

    def load_checkpoint(self, run: dict[str, Any], resume: bool, say: Callable[[str], None]) -> dict[str, Any] | None:
        """The saved state of the run that `run` describes, or None when the folder holds none.

        Args:
            run: network, data, recipe, seed: what must be equal, as in `difference`.
            resume: whether the user asked to go on with what is there.
            say: called when the result will differ from an undisturbed run's.

        Raises: TrainingError when the file is not a checkpoint, or another run's, or `resume` is False.
        """
        if not self.checkpoint.is_file():
            return None
        try:
            check_intact(self.checkpoint)
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            saved, epochs = dict(state["run"]), state["epochs"]
            then = dict(threads=state["threads"], processes=state.get("processes", 1))
        except Exception as error:
            raise TrainingError(
                f"{self.checkpoint} is damaged, or no checkpoint of a run: remove it and start anew"
            ) from error
        if not resume:
            done = "1 epoch" if epochs == 1 else f"{epochs} epochs"
            raise TrainingError(
                f"{self.path} holds a run of {done}: go on with --resume, begin anew with --overwrite, or name another "
                "folder"
            )
        if what := difference(saved, run):
            raise TrainingError(f"{self.path} holds another run: {what}; resume it as it was, or name another folder")
        now = _workers()
        for what, count in then.items():
            if count != now[what]:
                say(
                    f"the run so far had {what}={count} and this one has {what}={now[what]}: "
                    "the final weights will differ in rounding from those of an undisturbed run"
                )
        return state

    def save_weights(self, state: dict[str, Tensor]) -> None:
        self.write(self.weights, weight_bytes(state, {"format": "pt"}))  # which transformers asks for

    def save_card(self, card: Card) -> None:
        self.write(self.card, card.text())

    def start_log(self, records: list[dict[str, Any]]) -> None:
        """Begin the log with what is known: lines of epochs after the last checkpoint are dropped on resuming."""
        self.write(self.log, "".join(json.dumps(record) + "\n" for record in records))

    def append_log(self, record: dict[str, Any]) -> None:
        try:
            with self.log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.log}: {error.strerror}; the last checkpoint is whole{to_make_room(error)}"
            ) from error


def check_once(resume: bool, overwrite: bool) -> None:
    """Raises: InputError when a run is to be both gone on with and begun anew."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other: go on with the run, or begin anew")


def check_folder(out: str | os.PathLike[str]) -> None:
    """Raises: InputError for an empty name of a run's folder, which would stand for the working directory."""
    if not os.fspath(out):
        raise InputError("out='': name a folder, or . for the one that you are in")


def threads_in(checkpoint: Path) -> int | None:
    """How many threads a saved run used; None where there is no checkpoint, or one that cannot be read."""
    try:
        found: int = torch.load(checkpoint, map_location="cpu", weights_only=True)["threads"]
    except Exception:  # whoever resumes from it says what is wrong
        return None
    return found


def _workers() -> dict[str, int]:
    """What the order of sums depends on."""
    return dict(threads=torch.get_num_threads(), processes=dist.get_world_size() if dist.is_initialized() else 1)
