"""Train a network by a recipe."""

import logging
import math
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from unbabble.config import dump_settings, parse_settings
from unbabble.errors import TrainingError
from unbabble.networks.loss import permutation_invariant_loss, permute, si_sdr, snr
from unbabble.networks.network import SeparationNetwork
from unbabble.output import write_whole, writing
from unbabble.training.checkpoint import SafetensorsIO, read_checkpoint, read_weights
from unbabble.training.config import CosineSchedule, StepSchedule, TrainingConfig, TrainingRecipe
from unbabble.training.data import load_data
from unbabble.training.datasets import Batch
from unbabble.training.export import export_model, read_weights_of_model
from unbabble.training.processes import Processes

RATIOS = {"snr": snr, "si_sdr": si_sdr}
BEST, LAST, RECIPE = "best.safetensors", "last.safetensors", "recipe.yaml"


class SeparationTask(lightning.LightningModule):
    """Utterance-level permutation invariant training of a network (PAPER: training)."""

    def __init__(self, network: nn.Module, config: TrainingConfig, device_mixer: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.config, self.device_mixer = network, config, device_mixer
        self.minutes = 0.0  # trained so far, earlier parts of a resumed run counted in
        self._started = 0.0

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Mix on the device what comes dry: the training batches, where the recipe says so."""
        if self.device_mixer is None or not self.trainer.training:
            return batch
        with torch.no_grad():
            return self.device_mixer(batch)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        mixture, sources = batch
        losses, _permutation = permutation_invariant_loss(self.network(mixture), sources, RATIOS[self.config.loss])
        loss = losses.mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(mixture))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        mixture, sources = batch
        estimates = self.network(mixture)
        losses, permutation = permutation_invariant_loss(estimates, sources, RATIOS[self.config.loss])
        gain = si_sdr(permute(estimates, permutation), sources) - si_sdr(mixture.unsqueeze(1), sources)
        self.log("valid/loss", losses.mean(), prog_bar=True, batch_size=len(mixture))
        self.log("valid/si_sdr_improvement", gain.mean(), prog_bar=True, batch_size=len(mixture))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        scheduler = LambdaLR(optimizer, lambda _: self.learning_rate_factor())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learning_rate_factor(self) -> float:
        """What the schedule multiplies the learning rate by, now."""
        schedule = self.config.schedule
        if isinstance(schedule, StepSchedule):
            return schedule.factor ** (self.current_epoch // schedule.epochs)
        return cosine_factor(self.progress(), schedule)

    def progress(self) -> float:
        """Part of the run that is over, 0 to 1: by epochs or by minutes, whichever is further."""
        steps = self.config.max_epochs * max(1, self.config.epoch_size // self.config.batch_size)
        by_steps = self.global_step / steps
        if self.config.max_minutes is None:
            return min(1.0, by_steps)
        return min(1.0, max(by_steps, self.minutes / self.config.max_minutes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["minutes"] = self.minutes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.minutes = checkpoint["minutes"]

    def on_train_start(self) -> None:
        self._started = time.monotonic() - 60 * self.minutes

    def on_train_batch_end(self, *_: Any) -> None:
        self._tell_time()
        if self.config.max_minutes is not None and self.progress() >= 1:
            self.trainer.should_stop = True

    def _tell_time(self) -> None:
        """One clock for all processes, since the learning rate, which must be the same, goes by it."""
        clock = torch.tensor(time.monotonic() - self._started, dtype=torch.float64, device=self.device)
        if torch.distributed.is_initialized():
            torch.distributed.broadcast(clock, 0)
        self.minutes = clock.item() / 60


def cosine_factor(progress: float, schedule: CosineSchedule) -> float:
    """Linear from 0 to 1 over the warm-up, then half a cosine down to 0.01."""
    if progress < schedule.warmup:
        return max(progress / schedule.warmup, 0.01)
    fallen = (progress - schedule.warmup) / (1 - schedule.warmup)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * fallen)) / 2


class EpochReport(Callback):
    """One line for every epoch, so that a log file shows how the run goes."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        assert isinstance(task, SeparationTask)
        shown = trainer.callback_metrics
        self.console.print(
            f"epoch {trainer.current_epoch + 1}: validation loss {shown['valid/loss']:.2f} dB, "
            f"SI-SDRi {shown['valid/si_sdr_improvement']:.2f} dB, {task.minutes:.1f} min",
            highlight=False,
        )


def train(recipe: TrainingRecipe, run: Path, resume: bool = False, start: str | Path | None = None) -> Path | None:
    """Train by the recipe and export the best weights; returns the model folder, ``run/model``.

    Under torchrun, all processes train one network, each on its part of every batch; the first of them exports,
    the others return None. run: its folder gets
    checkpoints, logs and the recipe; resume: go on from its last checkpoint; start: a model whose weights the run
    starts from, by name or folder. Raises CorpusError, AudioError, TrainingError, ModelError, OutputError.
    """
    processes = Processes.of_environment()
    processes.share_of(recipe.training.batch_size)
    if processes.first:
        _check_run(run, resume, recipe)
    console = Console(quiet=not processes.first)
    lightning.seed_everything(recipe.seed, verbose=False)
    network = SeparationNetwork(recipe.network)
    if start is not None:
        network.load_state_dict(read_weights_of_model(start, recipe.network))
    console.print("decoding speech and making rooms ...")
    data = load_data(recipe, run / "scan", processes)
    for notice in (*data.notices, f"network of {network.n_parameters / 1e6:.2f} M parameters"):
        console.print(notice, highlight=False)
    if processes.first:
        write_whole(run / RECIPE, yaml.safe_dump(dump_settings(recipe), sort_keys=False).encode())
    _quiet_lightning()
    trainer = lightning.Trainer(
        devices=processes.here,
        num_nodes=processes.world // processes.here,
        strategy="ddp" if processes.world > 1 else "auto",
        use_distributed_sampler=False,
        max_epochs=recipe.training.max_epochs,
        gradient_clip_val=recipe.training.gradient_clip,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        logger=TensorBoardLogger(run, name="logs", version=""),
        plugins=[SafetensorsIO()],
        callbacks=_callbacks(run, recipe.training, console),
        enable_model_summary=False,
        enable_progress_bar=console.is_terminal,
    )
    task = SeparationTask(network, recipe.training, data.device_mixer)
    trainer.fit(task, data.train, data.valid, ckpt_path=run / LAST if resume else None)
    return export_run(run, run / "model") if processes.first else None


def export_run(run: Path, folder: Path) -> Path:
    """Make a model folder from the best checkpoint of a run. Raises TrainingError, ModelError."""
    recipe = read_run_recipe(run)
    checkpoint = read_checkpoint(run / BEST)
    network = SeparationNetwork(recipe.network)
    network.load_state_dict(read_weights(checkpoint, "network."))
    facts = {"epoch": checkpoint["epoch"] + 1, "steps": checkpoint["global_step"]}
    return export_model(network, recipe, folder, facts)


def _check_run(run: Path, resume: bool, recipe: TrainingRecipe) -> None:
    """Make the run's folder and see that what is asked can be done, before any work is done."""
    started = (run / LAST).exists()
    if started and not resume:
        raise TrainingError(f"{run}: holds a run already; go on with --resume, or choose another --out")
    if resume and not started:
        raise TrainingError(f"{run}: has no {LAST} to resume from; start the run without --resume")
    if resume and read_run_recipe(run).network != recipe.network:
        raise TrainingError(f"{run}: was started with another network; give its {RECIPE}, or another --out")
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)


def read_run_recipe(run: Path) -> TrainingRecipe:
    """The recipe that a run was started with."""
    path = run / RECIPE
    if not path.is_file():
        raise TrainingError(f"{run}: not a training run: it has no {RECIPE}")
    return parse_settings(TrainingRecipe, yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def _callbacks(run: Path, config: TrainingConfig, console: Console) -> list[Callback]:
    best = ModelCheckpoint(run, Path(BEST).stem, monitor="valid/loss", save_top_k=1, enable_version_counter=False)
    last = ModelCheckpoint(run, Path(LAST).stem, save_top_k=1, enable_version_counter=False)
    for saver in (best, last):
        saver.FILE_EXTENSION = Path(BEST).suffix
    bar = [RichProgressBar()] if console.is_terminal else []
    return [best, last, EarlyStopping("valid/loss", patience=config.patience), EpochReport(console), *bar]


def _quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
