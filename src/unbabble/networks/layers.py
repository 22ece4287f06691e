"""What front ends and blocks share: a norm, log powers, and the edges of a framed signal."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GlobalNorm(nn.Module):
    """Global layer norm: over all axes but the first; a gain and a bias for each channel (the last axis)."""

    def __init__(self, channels: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        axes = tuple(range(1, features.ndim))
        centred = features - features.mean(axes, keepdim=True)
        power = centred.square().mean(axes, keepdim=True)
        return centred * torch.rsqrt(power + self.eps) * self.gain + self.bias


def pair_power(frames: Tensor) -> Tensor:
    """Power of quadrature pairs: frames (batch, frames, filters) -> (batch, frames, filters / 2)."""
    cosine, sine = frames.chunk(2, dim=-1)
    return cosine.square() + sine.square()


def complex_product(one: Tensor, other: Tensor) -> Tensor:
    """Of numbers given as real parts, then imaginary parts, as quadrature pairs are: (..., 2 * bins)."""
    (a, b), (c, d) = one.chunk(2, dim=-1), other.chunk(2, dim=-1)
    return torch.cat([a * c - b * d, a * d + b * c], dim=-1)


def power_floor(power: Tensor) -> Tensor:
    """What powers (batch, frames, bins) are counted up to, lest the empty become loud: (batch, 1, 1).

    50 dB below their mean, so that it rises and falls with the input's level.
    """
    return 1e-5 * power.mean((1, 2), keepdim=True) + 1e-20


def log_power(frames: Tensor) -> Tensor:
    """Log power of quadrature pairs, above a floor: (batch, frames, filters) -> (batch, frames, filters / 2)."""
    power = pair_power(frames)
    return torch.log(power + power_floor(power))


def with_edges(mixture: Tensor, window: int, hop: int) -> Tensor:
    """Zeros around a mixture (batch, samples), so that every sample lies under window / hop whole frames."""
    edge = window - hop
    return F.pad(mixture, (edge, edge + -mixture.shape[-1] % hop))


def full_precision(signal: Tensor) -> torch.autocast:
    """For signals and their spectra: bfloat16 would add noise 45 dB below them, wherever autocast is on."""
    return torch.autocast(signal.device.type, enabled=False)
