"""Train a network: Lightning's trainer, and what it says meanwhile."""

import logging
import time
import warnings
from collections.abc import Callable
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

from unbabble.base.progress import Progress
from unbabble.errors import TrainingError
from unbabble.inference.model_folder import WEIGHTS
from unbabble.training.checkpoint import LastCheckpoint, SafetensorsIO, read_checkpoint, write_checkpoint
from unbabble.training.config import Recipe, TrainingConfig
from unbabble.training.data import DataModule
from unbabble.training.diarization import DiarizationTask
from unbabble.training.export import KINDS, export_run, read_weights_of_model
from unbabble.training.recipe import keep_recipe
from unbabble.training.run import BEST, LAST, START, Processes
from unbabble.training.separation import SeparationTask
from unbabble.training.task import LOSS, Batch, Task

TASKS: dict[str, Callable[[Any, Any, DataModule], Task]] = {  # of a network and the recipe's training
    "separation": lambda network, config, data: SeparationTask(network, config),
    "diarization": lambda network, config, data: DiarizationTask(network, config, data.speakers),
}


def fit(recipe: Recipe, run: Path, resume: bool, processes: Processes, progress: Progress) -> Path | None:
    """Train in a folder that is prepared; see ``unbabble.training.run.train``."""
    if recipe.training.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise TrainingError("precision: bf16, but this GPU does not have it; set training.precision=fp32")
    console = Console(quiet=not processes.first)
    lightning.seed_everything(recipe.seed, verbose=False)
    network = recipe.network.build()
    if recipe.training.start is not None and not resume:
        start = KINDS[recipe.kind].open(recipe.training.start)
        network.load_state_dict(read_weights_of_model(start, recipe.network))
        if processes.first:
            known_as: dict[str, Any] = {key: start.card[key] for key in ("name", "version") if key in start.card}
            known_as["checksum"] = start.card["checksums"][WEIGHTS]
            write_checkpoint({"model": known_as, "weights": network.state_dict()}, run / START)
    if recipe.training.compile:
        network.compile()
    data = DataModule(recipe, run, processes, progress)
    for notice in (*data.notices, f"network of {network.n_parameters / 1e6:.2f} M parameters"):
        console.print(notice, highlight=False)
    if processes.first:
        keep_recipe(recipe, run)
    _fit(TASKS[recipe.kind](network, recipe.training, data), data, run, resume, processes, console)
    return export_run(run, run / "model") if processes.first else None


def _fit(task: Task, data: DataModule, run: Path, resume: bool, processes: Processes, console: Console) -> None:
    config = task.config
    _quiet_lightning()
    trainer = lightning.Trainer(
        devices=processes.here,
        num_nodes=processes.world // processes.here,
        strategy="ddp" if processes.world > 1 else "auto",
        use_distributed_sampler=False,
        precision="32-true" if config.precision == "fp32" else "bf16-mixed",
        max_epochs=config.max_epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.gradient_clip,
        num_sanity_val_steps=0,
        log_every_n_steps=config.log_steps,
        logger=TensorBoardLogger(run, name="logs", version=""),
        plugins=[SafetensorsIO()],
        callbacks=_callbacks_of(run, config, console),
        enable_model_summary=False,
        enable_progress_bar=console.is_terminal,
    )
    if resume:
        data.drawn = drawn_until(read_checkpoint(run / LAST), config.batch_size)
    try:
        trainer.fit(task, datamodule=data, ckpt_path=run / LAST if resume else None)
    except torch.OutOfMemoryError as error:
        raise TrainingError(_too_large(task, str(error))) from None
    except TrainingError as error:
        kept = f"; the last good checkpoint is {run / LAST}" if (run / LAST).exists() else ""
        raise TrainingError(f"{error}{kept}") from None


def drawn_until(checkpoint: dict[str, Any], batch_size: int) -> int:
    """Mixtures trained on until a checkpoint. Raises TrainingError where it is of another kind of training."""
    if DataModule.__qualname__ in checkpoint:
        return int(checkpoint[DataModule.__qualname__]["drawn"])
    try:  # before this was kept, only Lightning counted, and only batches
        return int(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"] * batch_size)
    except KeyError:
        raise TrainingError(f"{LAST}: from before diarizers were trained this way; begin anew") from None


def _callbacks_of(run: Path, config: TrainingConfig, console: Console) -> list[Callback]:
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


def _too_large(task: Task, reason: str) -> str:
    size, accumulate = task.config.batch_size, task.config.accumulate
    fits = task.fitting_batch_size(task.last_batch) if task.last_batch else 0
    advice = "try shorter mixtures (duration_s), or precision: bf16"
    if fits:
        advice = f"batch_size: {fits} fits; with accumulate: {accumulate * size // fits} it learns the same"
    return f"batch_size {size} is too large for the memory of the device ({reason.split('.')[0]}); {advice}"


def _quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")


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
