"""What a training step does: loss, learning rate, clock, and what is measured on validation mixtures."""

import math
import time
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from unbabble.errors import TrainingError
from unbabble.evaluation.bins import mean_by_bin, overlap_bins
from unbabble.networks.losses import permutation_invariant_loss, permute, si_sdr
from unbabble.networks.network import SeparationNetwork
from unbabble.training.config import TrainingConfig
from unbabble.training.datasets import Batch
from unbabble.training.device_mixing import DeviceMixer
from unbabble.training.schedules import Moment

GAIN = "valid/si_sdr_improvement"
BAD_STEPS = 10  # in a row, with which a run ends


class SeparationTask(lightning.LightningModule):
    """Utterance-level permutation invariant training of a network (PAPER: training)."""

    def __init__(
        self, network: SeparationNetwork, config: TrainingConfig, device_mixer: DeviceMixer | None = None
    ) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.minutes = 0.0  # trained so far, earlier parts of a resumed run counted in
        self.bad_steps = 0  # in a row, of which nothing was learned because a gradient was no number
        self._device_mixers = [device_mixer]  # in a list, as no part of the network: neither saved nor averaged
        self.last_batch: Batch | None = None
        self._clock = time.process_time if config.clock == "processor" else time.monotonic
        self._started = 0.0
        self._gains: list[tuple[float, float]] = []  # overlap ratio, SI-SDR improvement (dB)

    def on_fit_start(self) -> None:
        self._device_mixers = [mixer and mixer.to(self.device) for mixer in self._device_mixers]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Mix on the device what comes dry: the training batches, where the recipe says so."""
        (mixer,) = self._device_mixers
        if mixer is None or not self.trainer.training:
            return Batch(*batch)
        with torch.no_grad():
            mixture, sources = mixer(batch)
        return Batch(mixture, sources, mixture.new_full((len(mixture),), math.nan))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        self.last_batch = batch
        losses, _permutation = self._losses(self.network(batch.mixture), batch)
        loss = losses.mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=len(batch.mixture))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Learn nothing from a step whose gradient is no number; gradients are the same in all processes."""
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        if not gradients or torch.nn.utils.get_total_norm(gradients).isfinite():
            self.bad_steps = 0
            return
        optimizer.zero_grad(set_to_none=True)  # without gradients, the optimizer does nothing
        self.bad_steps += 1
        if self.bad_steps == BAD_STEPS:
            raise TrainingError(
                f"the loss was no number in {BAD_STEPS} steps in a row; try a lower learning rate, or precision: fp32"
            )

    def validation_step(self, batch: Batch, _: int) -> None:
        mixture, sources, overlap_ratio = batch
        estimates = self.network(mixture).float()
        losses, permutation = self._losses(estimates, batch)
        gain = si_sdr(permute(estimates, permutation), sources) - si_sdr(mixture.unsqueeze(1), sources)
        complete = sources.any(-1).all(-1)  # in a silent source there is nothing to be found
        self.log("valid/loss", losses.mean(), prog_bar=True, batch_size=len(mixture))
        self._gains += zip(overlap_ratio[complete].tolist(), gain[complete].mean(1).tolist(), strict=True)

    def on_validation_epoch_end(self) -> None:
        gains, known = [gain for _, gain in self._gains], [one for one in self._gains if not math.isnan(one[0])]
        self._gains.clear()
        self.log(GAIN, sum(gains) / len(gains) if gains else math.nan, prog_bar=True)
        for name, gain in mean_by_bin(known, overlap_bins()).items():
            self.log(f"{GAIN} at overlap {name}", gain)

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = config.optimizer.build(self.network, config.learning_rate, config.weight_decay)
        scheduler = LambdaLR(optimizer, lambda _: self.learning_rate_factor())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learning_rate_factor(self) -> float:
        """What the schedule multiplies the learning rate by, now."""
        now = Moment(self.progress(), self.current_epoch, self.global_step)
        return self.config.schedule.factor_at(now)

    def progress(self) -> float:
        """Part of the run that is over, 0 to 1: by epochs or by minutes, whichever is further."""
        config = self.config
        batches = max(1, config.epoch_size // config.batch_size)
        by_steps = self.global_step / (config.max_epochs * math.ceil(batches / config.accumulate))
        if config.max_minutes is None:
            return min(1.0, by_steps)
        return min(1.0, max(by_steps, self.minutes / config.max_minutes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["minutes"] = self.minutes
        checkpoint["generator"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.minutes = checkpoint["minutes"]
        torch.set_rng_state(checkpoint["generator"])

    def on_train_start(self) -> None:
        self._started = self._clock() - 60 * self.minutes

    def on_train_batch_end(self, *_: Any) -> None:
        self._tell_time()
        if self.config.max_minutes is not None and self.progress() >= 1:
            self.trainer.should_stop = True

    def _tell_time(self) -> None:
        """One clock for all processes, since the learning rate, which must be the same, goes by it."""
        clock = torch.tensor(self._clock() - self._started, dtype=torch.float64, device=self.device)
        if torch.distributed.is_initialized():
            torch.distributed.broadcast(clock, 0)
        self.minutes = clock.item() / 60

    def fitting_batch_size(self, batch: Batch) -> int:
        """How many mixtures like those of a batch that was too large the device has room for: halved until it has."""
        size = len(batch.mixture)
        while size := size // 2:
            self.zero_grad(set_to_none=True)
            try:
                part = Batch(*(signals[:size] for signals in batch))
                losses, _ = self._losses(self.network(part.mixture), part)
                losses.mean().backward()  # type: ignore[no-untyped-call]
                break
            except torch.OutOfMemoryError:
                continue
        return size

    def _losses(self, estimates: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        ratio = self.config.loss.ratio
        return permutation_invariant_loss(estimates.float(), batch.sources, ratio, batch.mixture)
