"""What a run says and keeps while it goes on."""

import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from unbabble.evaluation.bins import overlap_bins
from unbabble.training.config import TrainingConfig
from unbabble.training.datasets import Batch
from unbabble.training.run import BEST, LAST
from unbabble.training.task import GAIN, SeparationTask

HEARD = 4  # validation mixtures that TensorBoard plays


def callbacks_of(run: Path, config: TrainingConfig, console: Console) -> list[Callback]:
    """All that a run needs: checkpoints, early stopping, averaging, reports."""
    best = ModelCheckpoint(run, Path(BEST).stem, monitor="valid/loss", save_top_k=1, enable_version_counter=False)
    last = LastCheckpoint(run, config.checkpoint_minutes)
    for saver in (best, last):
        saver.FILE_EXTENSION = Path(BEST).suffix
    chosen = [best, last, EarlyStopping("valid/loss", patience=config.patience), EpochReport(console)]
    if config.ema is not None:
        chosen.append(EMAWeightAveraging(decay=config.ema))
    chosen += [StepReport(console, config.log_steps), AudioExamples()]
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
        assert isinstance(pl_module, SeparationTask)
        self._saved_at = pl_module.minutes

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        assert isinstance(pl_module, SeparationTask)
        if pl_module.minutes - self._saved_at >= self.minutes:
            self._saved_at = pl_module.minutes
            trainer.save_checkpoint(Path(str(self.dirpath)) / LAST)


class EpochReport(Callback):
    """One line for every epoch, so that a log file shows how the run goes, and how long it may still take."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._empty: list[str] = []

    def on_validation_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        assert isinstance(task, SeparationTask)
        shown, progress = trainer.callback_metrics, task.progress()
        self._tell_of_empty([name for name in overlap_bins().names if f"{GAIN} at overlap {name}" not in shown])
        left = f", at most {task.minutes * (1 - progress) / progress:.0f} min left" if 0 < progress < 1 else ""
        waited = shown.get("train/share_waiting_for_data")
        waiting = "" if waited is None else f", lately waiting for data {waited:.1%} of the time"
        self.console.print(
            f"epoch {trainer.current_epoch + 1}: validation loss {shown['valid/loss']:.2f} dB, "
            f"SI-SDRi {shown[GAIN]:.2f} dB, {task.minutes:.1f} min{waiting}{left}",
            highlight=False,
        )

    def _tell_of_empty(self, bins: list[str]) -> None:
        """Once, not with every epoch."""
        if bins and bins != self._empty:
            self.console.print(
                f"no validation mixture has an overlap of {', '.join(bins)}: nothing is measured there; "
                "set a larger training.valid_size, or mixtures with other ratios",
                highlight=False,
            )
        self._empty = bins


class StepReport(Callback):
    """Mixtures a second and the share of time spent waiting for them, in TensorBoard; steps skipped, on screen."""

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
        assert isinstance(task, SeparationTask)
        if task.bad_steps:
            self.console.print(f"step {trainer.global_step}: skipped, its gradient is no number", highlight=False)
        self._mixed += len(batch.mixture) * trainer.world_size
        self._ended = time.perf_counter()
        if (batch_idx + 1) % self.every == 0:
            taken = self._ended - self._since
            task.log("train/mixtures_per_s", self._mixed / taken)
            task.log("train/share_waiting_for_data", self._waited / taken)
            self.on_train_epoch_start()


class AudioExamples(Callback):
    """The first validation mixtures and what the network makes of them, to be heard in TensorBoard."""

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        task: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        first = batch_idx * len(batch.mixture)
        if first >= HEARD or not isinstance(trainer.logger, TensorBoardLogger):
            return
        assert isinstance(task, SeparationTask)
        with torch.no_grad():
            estimates = task.network(batch.mixture[: HEARD - first]).float()
        for number, (mixture, tracks) in enumerate(zip(batch.mixture, estimates, strict=False), start=first + 1):
            signals = {"mixture": mixture, **{f"track {track}": one for track, one in enumerate(tracks, start=1)}}
            for name, signal in signals.items():
                trainer.logger.experiment.add_audio(
                    f"validation mixture {number}/{name}",
                    signal.clamp(-1, 1).cpu(),
                    trainer.global_step,
                    task.network.config.sample_rate,
                )
