"""What a run says and keeps while it goes on."""

import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from rich.console import Console

from unbabble.training.checkpoint import BEST, LAST
from unbabble.training.config import TrainingConfig
from unbabble.training.task import LOSS, Batch, Task


def callbacks_of(run: Path, config: TrainingConfig, console: Console) -> list[Callback]:
    """All that a run needs: checkpoints, early stopping, averaging, reports."""
    best = ModelCheckpoint(run, Path(BEST).stem, monitor=LOSS, save_top_k=1, enable_version_counter=False)
    last = LastCheckpoint(run, config.checkpoint_minutes)
    for saver in (best, last):
        saver.FILE_EXTENSION = Path(BEST).suffix
    chosen = [best, last, EarlyStopping(LOSS, patience=config.patience), EpochReport(console)]
    if config.ema is not None:
        chosen.append(EMAWeightAveraging(decay=config.ema))
    chosen.append(StepReport(console, config.log_steps))
    return [*chosen, RichProgressBar()] if console.is_terminal else chosen


class LastCheckpoint(ModelCheckpoint):
    """Where to resume from: written after each epoch, and within it as often as asked for.

    By the task's clock: all processes have to save at the same step, since they wait for each other there.
    """

    def __init__(self, run: Path, minutes: float) -> None:
        super().__init__(run, Path(LAST).stem, save_top_k=1, enable_version_counter=False)
        self.minutes = minutes
        self._saved_at = 0.0  # minutes of the task

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        assert isinstance(pl_module, Task)
        self._saved_at = pl_module.minutes

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        assert isinstance(pl_module, Task)
        if pl_module.minutes - self._saved_at >= self.minutes:
            self._saved_at = pl_module.minutes
            trainer.save_checkpoint(Path(str(self.dirpath)) / LAST)


class EpochReport(Callback):
    """One line for every epoch, so that a log file shows how the run goes, and how long it may still take."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._missing = ""

    def on_validation_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        assert isinstance(task, Task)
        measured, progress = trainer.callback_metrics, task.progress()
        missing, told = task.missing(measured), self._missing
        self._missing = missing
        if missing and missing != told:  # once, not with every epoch
            self.console.print(missing, highlight=False)
        left = f", at most {task.minutes * (1 - progress) / progress:.0f} min left" if 0 < progress < 1 else ""
        waited = measured.get("train/waiting_for_data")
        waiting = "" if waited is None else f", lately waiting for data {waited:.1%} of the time"
        self.console.print(
            f"epoch {trainer.current_epoch + 1}: {task.summary(measured)}, {task.minutes:.1f} min{waiting}{left}",
            highlight=False,
        )


class StepReport(Callback):
    """Mixtures a second and the fraction of time spent waiting for them, in TensorBoard; steps skipped, on screen."""

    def __init__(self, console: Console, every: int) -> None:
        self.console, self.every = console, every
        self._ended = self._since = self._waited = 0.0
        self._mixed = 0

    def on_train_epoch_start(self, *_: Any) -> None:
        self._ended = self._since = time.perf_counter()
        self._waited, self._mixed = 0.0, 0

    def on_train_batch_start(self, *_: Any) -> None:
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: lightning.Trainer, task: lightning.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        assert isinstance(task, Task)
        if task.bad_steps:
            self.console.print(f"step {trainer.global_step}: skipped, its gradient is no number", highlight=False)
        self._mixed += len(batch.mixture) * trainer.world_size
        self._ended = time.perf_counter()
        if (batch_idx + 1) % self.every == 0:
            taken = self._ended - self._since
            task.log("train/mixtures_per_s", self._mixed / taken)
            task.log("train/waiting_for_data", self._waited / taken)
            self.on_train_epoch_start()
