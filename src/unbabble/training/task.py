"""What training is, whatever is learned: its clock, its learning rate, steps that are skipped, what is kept."""

import math
import time
from abc import ABC, abstractmethod
from typing import Any, Protocol

import lightning
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from unbabble.errors import TrainingError
from unbabble.training.config import TrainingConfig
from unbabble.training.optimizers import Moment

LOSS = "valid/loss"  # by which the best weights are told
BAD_STEPS = 10  # in a row, with which a run ends


class Batch(Protocol):
    """What all batches have: mixture (batch, samples). They are named tuples of tensors with a first axis alike."""

    @property
    def mixture(self) -> Tensor: ...


class Task(lightning.LightningModule, ABC):
    """One kind of thing that a network learns.

    A subclass has a loss, measures what it logs as ``LOSS`` and more on validation batches, and puts what it has
    measured into words.

    Attributes
    ----------
    network
        What is trained. The parameters of the task beyond it are for training only.
    minutes
        Trained so far, earlier parts of a resumed run counted in.
    bad_steps
        In a row, of which nothing was learned because a gradient was no number.
    scores
        Of the last validation, for the card of the model.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.minutes, self.bad_steps = 0.0, 0
        self.scores: dict[str, float | None] = {}
        self.last_batch: Any = None
        self._clock = time.process_time if config.clock == "processor" else time.monotonic
        self._started = 0.0

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Of a batch to train on, a single number."""

    @abstractmethod
    def summary(self, measured: dict[str, Any]) -> str:
        """What was logged on the validation mixtures, in a few words."""

    def missing(self, measured: dict[str, Any]) -> str:
        """What could not be measured, and why, in a sentence; nothing where all could."""
        return ""

    def training_step(self, batch: Batch, _: int) -> Tensor:
        self.last_batch = batch
        loss = self.loss(batch)
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

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = config.optimizer.build(self.learned(), config.learning_rate, config.weight_decay)
        scheduler = LambdaLR(optimizer, lambda _: self.learning_rate_factor())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learned(self) -> nn.Module:
        """All that the optimizer changes."""
        return self.network

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
        checkpoint["scores"] = self.scores

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

    def fitting_batch_size(self, batch: Any) -> int:
        """How many mixtures like those of a batch that was too large the device has room for: halved until it has."""
        size = len(batch.mixture)
        while size := size // 2:
            self.zero_grad(set_to_none=True)
            try:
                self.loss(type(batch)(*(part[:size] for part in batch))).backward()  # type: ignore[no-untyped-call]
                break
            except torch.OutOfMemoryError:
                continue
        return size
