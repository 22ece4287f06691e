"""Train a network by a recipe."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from unbabble.base.progress import UNWATCHED, Progress
from unbabble.errors import TrainingError
from unbabble.inference.model_folder import WEIGHTS
from unbabble.training.callbacks import callbacks_of
from unbabble.training.checkpoint import (
    BEST,
    LAST,
    START,
    SafetensorsIO,
    keep_recipe,
    prepare_run,
    read_checkpoint,
    read_weights,
    recipe_of_run,
    write_checkpoint,
)
from unbabble.training.config import Recipe
from unbabble.training.data import DataModule
from unbabble.training.diarization import DiarizationTask
from unbabble.training.export import export_model, open_start, read_weights_of_model
from unbabble.training.processes import Processes
from unbabble.training.separation import SeparationTask
from unbabble.training.task import Task

TASKS: dict[str, Callable[[Any, Any, DataModule], Task]] = {  # of a network and the recipe's training
    "separation": lambda network, config, data: SeparationTask(network, config),
    "diarization": lambda network, config, data: DiarizationTask(network, config, data.speakers),
}


def train(recipe: Recipe, run: Path, resume: bool = False, progress: Progress = UNWATCHED) -> Path | None:
    """Train by a recipe and export the best weights.

    Under torchrun, all processes train one network, each on its part of every batch.

    Parameters
    ----------
    recipe
        Of a separator or a diarizer.
    run
        Folder that gets checkpoints, logs and the recipe.
    resume
        Go on from the run's last checkpoint.
    progress
        Told what goes on before.

    Returns
    -------
    Path or None
        The model folder, ``run/model``; None in all processes but the first.

    Raises
    ------
    CorpusError, AudioError, TrainingError, ModelError, OutputError
    """
    processes = Processes.of_environment()
    processes.share_of(recipe.training.batch_size)
    if processes.first:
        prepare_run(run, recipe, resume)
    if recipe.training.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise TrainingError("precision: bf16, but this GPU does not have it; set training.precision=fp32")
    console = Console(quiet=not processes.first)
    lightning.seed_everything(recipe.seed, verbose=False)
    network = recipe.network.build()
    if recipe.training.start is not None and not resume:
        start = open_start(recipe)
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
        callbacks=callbacks_of(run, config, console),
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


def export_run(run: Path, folder: Path) -> Path:
    """Make a model folder from the best checkpoint of a run. Raises TrainingError, ModelError.

    Where the recipe has a start_weight, its weights go so far back on the straight line to those that the run began
    with (arXiv 2109.01903, section 2).
    """
    recipe = recipe_of_run(run)
    checkpoint = read_checkpoint(run / BEST)
    network = recipe.network.build()
    weights, kept = read_weights(checkpoint, "network."), recipe.training.start_weight
    facts = {"epoch": checkpoint["epoch"] + 1, "steps": checkpoint["global_step"]}
    if recipe.training.start is not None:
        start = read_checkpoint(run / START)
        weights |= {
            name: torch.lerp(weight, start["weights"][name], kept)
            for name, weight in weights.items()
            if weight.is_floating_point()
        }
        facts["start"] = start["model"]
    network.load_state_dict(weights)
    return export_model(network, recipe, folder, facts, checkpoint.get("scores", {}))


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
