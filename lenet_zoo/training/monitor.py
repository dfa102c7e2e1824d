"""What a run reports while it goes on, to whom, and what it returns."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from lenet_zoo.errors import MissingExtraError, to_install

__all__ = ["Monitor", "Result", "TensorBoard"]


class Monitor:
    """What a run reports while it goes on; the command line shows it. Override what you need."""

    def begin(self, epochs: int, done: int, pictures: int) -> None:
        """A run starts: how many epochs it has, how many of them are done, and the pictures of each."""

    def step(self, epoch: int, pictures: int, loss: float, accuracy: float, rate: float) -> None:
        """Some batches on: pictures seen in this epoch (from 1), their mean loss and accuracy, pictures per second."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is over; `record` is its line in the log."""

    def say(self, text: str) -> None:
        """Something the user should know."""


class TensorBoard(Monitor):
    """Passes everything on, and writes each epoch's figures for TensorBoard.

    Raises: MissingExtraError when TensorBoard is not installed.
    """

    def __init__(self, to: Monitor, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError(f"TensorBoard is not installed: {to_install('tensorboard')}") from error
        self.to, self.folder, self.writer_of = to, folder, SummaryWriter
        self.step, self.say = to.step, to.say  # type: ignore[method-assign]

    def begin(self, epochs: int, done: int, pictures: int) -> None:
        # What an interrupted run wrote after its last checkpoint is taken back.
        self.writer = self.writer_of(os.fspath(self.folder), purge_step=done + 1)
        self.to.begin(epochs, done, pictures)

    def epoch(self, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, record["epoch"])
        self.writer.flush()
        self.to.epoch(record)


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        model: the trained network on the CPU, in evaluation mode; with `ema`, the averaged weights.
        history: one record per epoch, as in the log.
        seconds: of training over all starts, evaluation and saving left out.
    """

    model: nn.Module
    history: list[dict[str, Any]] = field(repr=False)
    seconds: float
