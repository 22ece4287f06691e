"""Train a network by a recipe."""

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from unbabble.base.progress import Stage, unwatched_stage
from unbabble.errors import TrainingError
from unbabble.inference.model_folder import WEIGHTS, open_model
from unbabble.networks.network import SeparationNetwork
from unbabble.training.callbacks import callbacks_of
from unbabble.training.checkpoint import SafetensorsIO, read_checkpoint, read_weights, write_checkpoint
from unbabble.training.config import TrainingRecipe
from unbabble.training.data import TrainingData, load_data
from unbabble.training.datasets import FreshSampler
from unbabble.training.export import export_model, read_weights_of_model
from unbabble.training.processes import Processes
from unbabble.training.run import BEST, LAST, START, keep_recipe, prepare_run, recipe_of_run
from unbabble.training.task import SeparationTask


def train(recipe: TrainingRecipe, run: Path, resume: bool = False, stage: Stage = unwatched_stage) -> Path | None:
    """Train by the recipe and export the best weights; returns the model folder, ``run/model``.

    Under torchrun, all processes train one network, each on its part of every batch; the first of them exports,
    the others return None. run: its folder gets checkpoints, logs and the recipe; resume: go on from its last
    checkpoint; stage: told what goes on before. Raises CorpusError, AudioError, TrainingError, ModelError,
    OutputError.
    """
    processes = Processes.of_environment()
    processes.share_of(recipe.training.batch_size)
    if processes.first:
        prepare_run(run, recipe, resume)
    if recipe.training.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise TrainingError("precision: bf16, but this GPU does not have it; set training.precision=fp32")
    console = Console(quiet=not processes.first)
    lightning.seed_everything(recipe.seed, verbose=False)
    network = SeparationNetwork(recipe.network)
    if recipe.training.start is not None and not resume:
        start = open_model(recipe.training.start)
        network.load_state_dict(read_weights_of_model(start, recipe.network))
        if processes.first:
            known_as = {key: start.card[key] for key in ("name", "version")}
            known_as["checksum"] = start.card["checksums"][WEIGHTS]
            write_checkpoint({"model": known_as, "weights": network.state_dict()}, run / START)
    if recipe.training.compile:
        network.compile()
    data = load_data(recipe, run, processes, stage)
    for notice in (*data.notices, f"network of {network.n_parameters / 1e6:.2f} M parameters"):
        console.print(notice, highlight=False)
    if processes.first:
        keep_recipe(recipe, run)
    _fit(SeparationTask(network, recipe.training, data.device_mixer), data, run, resume, processes, console)
    return export_run(run, run / "model") if processes.first else None


def _fit(
    task: SeparationTask, data: TrainingData, run: Path, resume: bool, processes: Processes, console: Console
) -> None:
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
        _skip_what_was_drawn(data, read_checkpoint(run / LAST))
    try:
        trainer.fit(task, data.train, data.valid, ckpt_path=run / LAST if resume else None)
    except torch.OutOfMemoryError as error:
        raise TrainingError(_too_large(task, str(error))) from None
    except TrainingError as error:
        kept = f"; the last good checkpoint is {run / LAST}" if (run / LAST).exists() else ""
        raise TrainingError(f"{error}{kept}") from None


def _skip_what_was_drawn(data: TrainingData, checkpoint: dict[str, Any]) -> None:
    """Let the first epoch of a resumed run begin with the mixtures that its first part has not had."""
    n_batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"]
    assert isinstance(data.train.sampler, FreshSampler)
    assert data.train.batch_size is not None
    data.train.sampler.go_on_after(n_batches * data.train.batch_size)


def export_run(run: Path, folder: Path) -> Path:
    """Make a model folder from the best checkpoint of a run. Raises TrainingError, ModelError.

    Where the recipe has a start_share, its weights go so far back on the straight line to those that the run began
    with (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    """
    recipe = recipe_of_run(TrainingRecipe, run)
    checkpoint = read_checkpoint(run / BEST)
    network = SeparationNetwork(recipe.network)
    weights, share = read_weights(checkpoint, "network."), recipe.training.start_share
    facts = {"epoch": checkpoint["epoch"] + 1, "steps": checkpoint["global_step"]}
    if recipe.training.start is not None:
        start = read_checkpoint(run / START)
        weights = {name: torch.lerp(weight, start["weights"][name], share) for name, weight in weights.items()}
        facts["start"] = start["model"]
    network.load_state_dict(weights)
    return export_model(network, recipe, folder, facts)


def _too_large(task: SeparationTask, reason: str) -> str:
    size, accumulate = task.config.batch_size, task.config.accumulate
    fits = task.fitting_batch_size(task.last_batch) if task.last_batch else 0
    advice = "try shorter mixtures (duration_s), or precision: bf16"
    if fits:
        advice = f"batch_size: {fits} fits; with accumulate: {accumulate * size // fits} it learns the same"
    return f"batch_size {size} is too large for the memory of the device ({reason.split('.')[0]}); {advice}"


def _quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
