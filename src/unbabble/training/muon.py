"""Muon: the optimizer for the matrices inside a network."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration, and 5 rounds of it
ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Steps whose singular values are all near 1, for matrices (arXiv 2502.16982, section 2), and AdamW for the rest.

    Gradients of one shape are made orthogonal in one batched product.

    Parameters
    ----------
    groups
        Parameter groups. With ``muon`` true: ``lr``, ``momentum`` and ``parts``, how many matrices each parameter
        holds above one another; its axes beyond the first are one. Else: ``lr`` of AdamW.
    weight_decay
        Decoupled, as a part of the learning rate.
    """

    def __init__(self, groups: list[dict[str, Any]], weight_decay: float = 0.0) -> None:
        super().__init__(groups, {"weight_decay": weight_decay, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            learned = [weight for weight in group["params"] if weight.grad is not None]
            if learned:
                torch._foreach_mul_(learned, 1 - group["lr"] * group["weight_decay"])
                (self._orthogonal_step if group["muon"] else self._adam_step)(learned, group)
        return loss

    def _orthogonal_step(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            momentum = state.setdefault("momentum", torch.zeros_like(weight))
            momentum.lerp_(weight.grad, 1 - group["momentum"])
            ahead = weight.grad.lerp(momentum, group["momentum"])  # Nesterov's
            for part, place in zip(ahead.chunk(group["parts"]), weight.chunk(group["parts"]), strict=True):
                by_shape[part.shape[0], part[0].numel()].append((part.flatten(1), place))
        for (rows, columns), parts in by_shape.items():
            steps = orthogonal(torch.stack([part for part, _ in parts])) * max(1.0, rows / columns) ** 0.5
            for step, (_, place) in zip(steps, parts, strict=True):
                place.sub_(step.reshape(place.shape), alpha=group["lr"])

    def _adam_step(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        slow, fast = group["betas"]
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state |= {"step": 0, "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
            state["step"] += 1
            state["mean"].lerp_(weight.grad, 1 - slow)
            state["square"].mul_(fast).addcmul_(weight.grad, weight.grad, value=1 - fast)
            root = (state["square"] / (1 - fast ** state["step"])).sqrt_().add_(group["eps"])
            weight.addcdiv_(state["mean"], root, value=-group["lr"] / (1 - slow ** state["step"]))


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (n, rows, columns) with singular values brought near 1 (0.7 to 1.2) by Newton-Schulz iterations."""
    a, b, c = NEWTON_SCHULZ
    wide = matrices.shape[1] <= matrices.shape[2]
    turned: Tensor = matrices if wide else matrices.transpose(1, 2)
    turned = turned / (turned.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = turned @ turned.transpose(1, 2)
        turned = a * turned + (b * gram + c * gram @ gram) @ turned
    return turned if wide else turned.transpose(1, 2)


def matrices_of(network: nn.Module, gates_apart: bool) -> Iterable[tuple[nn.Parameter, int]]:
    """Weights between hidden layers, and how many matrices each holds above one another.

    Layers of a front end, whose rows or columns are samples, bins or bands, are left out.
    """
    for module_name, module in network.named_modules():
        if module_name.startswith("front_end"):
            continue
        for name, weight in module.named_parameters(recurse=False):
            if isinstance(module, nn.LSTM) and name.startswith("weight"):
                yield weight, 4 if gates_apart else 1
            elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d) and name == "weight":
                yield weight, 1
