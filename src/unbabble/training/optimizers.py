"""How gradients become steps.

Another kind of optimizer is a description here, with a ``kind`` and ``build``, and a place in ``OptimizerConfig``.
Descriptions are read without PyTorch.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from unbabble.base.config import Fraction, PositiveFloat, kind_given, settings
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
