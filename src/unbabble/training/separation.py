"""Separation as a task: utterance-level permutation invariant training (arXiv 1703.06284, section III)."""

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from unbabble.evaluation.bins import mean_by_bin, overlap_bins
from unbabble.networks.losses import permutation_invariant_loss, permute, si_sdr
from unbabble.networks.network import SeparationNetwork
from unbabble.training.config import SeparationTraining
from unbabble.training.datasets import SeparationBatch
from unbabble.training.task import LOSS, Task

GAIN = "valid/si_sdr_improvement"
EXAMPLES = 4  # validation mixtures that TensorBoard plays


class SeparationTask(Task):
    """What a separator learns: estimates near their sources, in whatever order."""

    network: SeparationNetwork
    config: SeparationTraining

    def __init__(self, network: SeparationNetwork, config: SeparationTraining) -> None:
        super().__init__(network, config)
        self._gains: list[tuple[float, float]] = []  # overlap ratio, SI-SDR improvement (dB)

    def configure_callbacks(self) -> list[Callback]:
        return [AudioExamples()]

    def loss(self, batch: SeparationBatch) -> Tensor:
        losses, _permutation = self._losses(self.network(batch.mixture), batch)
        return losses.mean()

    def validation_step(self, batch: SeparationBatch, _: int) -> None:
        mixture, sources, overlap_ratio = batch
        estimates = self.network(mixture).float()
        losses, permutation = self._losses(estimates, batch)
        gain = si_sdr(permute(estimates, permutation), sources) - si_sdr(mixture.unsqueeze(1), sources)
        complete = sources.any(-1).all(-1)  # in a silent source there is nothing to be found
        self.log(LOSS, losses.mean(), prog_bar=True, batch_size=len(mixture))
        self._gains += zip(overlap_ratio[complete].tolist(), gain[complete].mean(1).tolist(), strict=True)

    def on_validation_epoch_end(self) -> None:
        gains, known = [gain for _, gain in self._gains], [one for one in self._gains if not math.isnan(one[0])]
        self._gains.clear()
        self.log(GAIN, sum(gains) / len(gains) if gains else math.nan, prog_bar=True)
        for name, gain in mean_by_bin(known, overlap_bins()).items():
            self.log(f"{GAIN} at overlap {name}", gain)

    def summary(self, measured: dict[str, Any]) -> str:
        return f"validation loss {measured[LOSS]:.2f} dB, SI-SDRi {measured[GAIN]:.2f} dB"

    def missing(self, measured: dict[str, Any]) -> str:
        empty = [name for name in overlap_bins().names if f"{GAIN} at overlap {name}" not in measured]
        if not empty:
            return ""
        return (
            f"no validation mixture has an overlap of {', '.join(empty)}: nothing is measured there; "
            "set a larger training.valid_size, or mixtures with other ratios"
        )

    def _losses(self, estimates: Tensor, batch: SeparationBatch) -> tuple[Tensor, Tensor]:
        ratio = self.config.loss.ratio
        return permutation_invariant_loss(estimates.float(), batch.sources, ratio, batch.mixture)


class AudioExamples(Callback):
    """The first validation mixtures and what the network makes of them, to be heard in TensorBoard."""

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        task: lightning.LightningModule,
        outputs: Any,
        batch: SeparationBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        first = batch_idx * len(batch.mixture)
        if first >= EXAMPLES or not isinstance(trainer.logger, TensorBoardLogger):
            return
        assert isinstance(task, SeparationTask)
        with torch.no_grad():
            estimates = task.network(batch.mixture[: EXAMPLES - first]).float()
        for number, (mixture, tracks) in enumerate(zip(batch.mixture, estimates, strict=False), start=first + 1):
            signals = {"mixture": mixture, **{f"track {track}": one for track, one in enumerate(tracks, start=1)}}
            for name, signal in signals.items():
                trainer.logger.experiment.add_audio(
                    f"validation mixture {number}/{name}",
                    signal.clamp(-1, 1).cpu(),
                    trainer.global_step,
                    task.network.config.sample_rate,
                )
