"""How training shows itself on a terminal while it goes on."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from emunum.experiments.training.state import EpochRecord, Step

_REFRESH_S = 0.1
_WIDE = 110
"""Columns of a terminal in which a bar has its place beside the numbers."""


class TrainingProgress:
    """A line with epoch and step, loss, validation accuracy, speed, and the time left.

    The time left is that of all epochs: a run that stops early has less.
    """

    def __init__(self, console: Console, epochs: int, quiet: bool) -> None:
        self._epochs = epochs
        self._samples, self._since, self._shown = 0, time.perf_counter(), 0.0
        self._validation = ""
        bar = [BarColumn(bar_width=20)] if console.width >= _WIDE else []
        self._progress = Progress(
            TextColumn("{task.description}"),
            *bar,
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        title = "starting: kernels compile at first use"
        self._task = self._progress.add_task(title, total=None, numbers="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def on_step(self, step: Step) -> None:
        """Show a step, unless the one shown was just now."""
        now = time.perf_counter()
        done = (step.epoch - 1) * step.of + step.number
        if self._samples == 0:  # the first: it may be in the middle of a run that goes on
            self._progress.reset(self._task, total=self._epochs * step.of, completed=done)
            self._since = now
        self._samples += step.samples
        if now - self._shown < _REFRESH_S and step.number < step.of:
            return
        self._shown = now
        speed = self._samples / (now - self._since) if now > self._since else 0.0
        numbers = f"loss {step.loss:.5g}{self._validation}, {speed:,.0f} samples/s"
        title = f"epoch {step.epoch}/{self._epochs}, step {step.number}/{step.of}"
        self._progress.update(self._task, completed=done, description=title, numbers=numbers)

    def on_epoch(self, epoch: EpochRecord) -> None:
        """Keep what validation said for the steps to come."""
        if epoch.validation_accuracy is not None:
            self._validation = f", accuracy {epoch.validation_accuracy:.4f}"
        elif epoch.validation_loss is not None:
            self._validation = f", validation loss {epoch.validation_loss:.5g}"
