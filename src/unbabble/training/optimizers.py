"""How gradients become steps: optimizers, and learning rates over a run.

Another kind of optimizer is a description here, with a ``kind`` and ``build``, and a place in ``OptimizerConfig``;
another schedule one with a ``kind`` and ``factor_at``, and a place in ``ScheduleConfig``. Descriptions are read
without PyTorch.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from unbabble.base.config import Fraction, NotNegative, Positive, PositiveFloat, kind_given, settings
from unbabble.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@settings
class AdamWConfig:
    """Adam with decoupled weight decay (arXiv 1711.05101); without decay, plain Adam."""

    kind: Literal["adamw"] = "adamw"

    def build(self, network: "nn.Module", learning_rate: float, weight_decay: float) -> "Optimizer":
        from torch.optim import AdamW

        return AdamW(network.parameters(), learning_rate, weight_decay=weight_decay)


@settings
class MuonConfig:
    """Muon on the matrices inside the network, AdamW at the recipe's learning rate on all else."""

    kind: Literal["muon"] = "muon"
    learning_rate: PositiveFloat = 0.02  # of the matrices
    momentum: Fraction = 0.95
    gates_apart: bool = True  # the four gates of an LSTM as matrices of their own

    def build(self, network: "nn.Module", learning_rate: float, weight_decay: float) -> "Optimizer":
        """Raises TrainingError where there is no matrix for it."""
        from unbabble.training.muon import Muon, matrices_of

        matrices = dict(matrices_of(network, self.gates_apart))
        if not matrices:
            raise TrainingError("optimizer: muon is for networks that have matrices; this one has none, use adamw")
        groups: list[dict[str, Any]] = [
            {"params": [weight for weight in matrices if matrices[weight] == parts], "parts": parts}
            for parts in sorted(set(matrices.values()))
        ]
        for group in groups:
            group |= {"muon": True, "lr": self.learning_rate, "momentum": self.momentum}
        rest = [weight for weight in network.parameters() if weight not in matrices]
        if rest:
            groups.append({"params": rest, "muon": False, "lr": learning_rate})
        return Muon(groups, weight_decay)


OptimizerConfig = Annotated[AdamWConfig | MuonConfig, Field(discriminator="kind"), kind_given("adamw")]


@dataclass(frozen=True)
class Moment:
    """Where a run is: progress, the part of its epochs or minutes that is over (0 to 1); epoch and step from 0."""

    progress: float
    epoch: int = 0
    step: int = 0


@settings
class StepSchedule:
    """Learning rate times ``factor`` every ``epochs`` epochs (after the authors' configuration)."""

    kind: Literal["step"] = "step"
    factor: PositiveFloat = 0.98
    epochs: Positive = 2

    def factor_at(self, now: Moment) -> float:
        return self.factor ** (now.epoch // self.epochs)


@settings
class CosineSchedule:
    """A linear rise, then half a cosine down to a hundredth at the end of the epochs or the minutes."""

    kind: Literal["cosine"] = "cosine"
    warmup: PositiveFloat = 0.02  # part of the whole run

    def factor_at(self, now: Moment) -> float:
        if now.progress < self.warmup:
            return max(now.progress / self.warmup, 0.01)
        fallen = (now.progress - self.warmup) / (1 - self.warmup)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * fallen)) / 2


@settings
class TrapezoidSchedule:
    """A linear rise over some steps, held, and let down linearly to a hundredth over the last part of the run.

    While it is held, the end can still be put anywhere: a run is resumed with other ``max_minutes`` or ``decay``
    (arXiv 2405.18392, section 3).
    """

    kind: Literal["trapezoid"] = "trapezoid"
    warmup_steps: NotNegative = 200
    decay: Fraction = 0.2  # part of the whole run

    def factor_at(self, now: Moment) -> float:
        risen = min(1.0, (now.step + 1) / (self.warmup_steps + 1))
        left = (1 - now.progress) / self.decay if self.decay else 1.0
        return risen * max(0.01, min(1.0, left))


ScheduleConfig = Annotated[
    StepSchedule | CosineSchedule | TrapezoidSchedule, Field(discriminator="kind"), kind_given("step")
]
