"""The diarizer: counts of active speakers and speaker embeddings. A time-delay network over log-mel frames."""

from math import pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unbabble.networks.config import HOPS, MOST_COUNTED, DiarizerConfig
from unbabble.networks.layers import full_precision

QUIETEST = 1e-6  # power of a mel band under the signal's mean power that still counts


class Diarizer(nn.Module):
    """Mixture (batch, samples) -> counts of active speakers and speaker embeddings.

    Counts (batch, frames, 3) are log-probabilities; embeddings are (batch, frames, embedding). The mean embedding of
    a talker's frames, scaled to length 1, is that talker's.
    """

    def __init__(self, config: DiarizerConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config)
        channels = config.channels
        self.first = TimeDelay(config.bands, channels, width=7, stride=HOPS)
        self.layers = nn.ModuleList(TimeDelay(channels, channels, dilation=dilation) for dilation in config.dilations)
        self.counts = nn.Conv1d(channels, MOST_COUNTED + 1, 1)
        self.embeddings = nn.Conv1d(channels, config.embedding, 1)
        self.register_load_state_dict_pre_hook(_rename_old_weights)  # type: ignore[no-untyped-call]

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(mixture):
            mel = self.mel(mixture)
        hidden = self.first(mel)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        counts = functional.log_softmax(self.counts(hidden), dim=1)
        return counts.transpose(1, 2), self.embeddings(hidden).transpose(1, 2)


class TimeDelay(nn.Module):
    """Convolution in time, ReLU, batch norm."""

    def __init__(self, inputs: int, outputs: int, width: int = 3, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(
            inputs, outputs, width, stride, padding=dilation * (width // 2), dilation=dilation
        )
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        normed: Tensor = self.norm(functional.relu(self.convolution(frames)))
        return normed


class LogMel(nn.Module):
    """Samples (batch, samples) -> log-mel frames (batch, bands, frames), free of level and mean spectrum."""

    basis: Tensor
    filters: Tensor

    def __init__(self, config: DiarizerConfig) -> None:
        super().__init__()
        self.window, self.hop = config.window, config.hop
        time = torch.arange(config.window) * (2 * pi / config.window)
        angles = torch.arange(config.window // 2 + 1)[:, None] * time
        basis = torch.cat([angles.cos(), angles.sin()]) * torch.hann_window(config.window)
        self.register_buffer("basis", basis[:, None], persistent=False)
        self.register_buffer("filters", mel_filters(config), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        level = samples.square().mean(-1, keepdim=True) + 1e-12
        padded = functional.pad(samples / level.sqrt(), (self.window // 2, self.window // 2))
        real, imaginary = functional.conv1d(padded[:, None], self.basis, stride=self.hop).chunk(2, dim=1)
        bands = self.filters @ (real.square() + imaginary.square())
        log = (bands + QUIETEST * self.window**2).log()
        return log - log.mean(-1, keepdim=True)


def mel_filters(config: DiarizerConfig) -> Tensor:
    """Triangles (bands, window // 2 + 1) of equal width on the mel scale, of sum 1 each."""
    mels = torch.linspace(0, 2595 * torch.log10(torch.tensor(1 + config.sample_rate / 2 / 700)), config.bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = torch.arange(config.window // 2 + 1) * (config.sample_rate / config.window)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(1, keepdim=True).clamp(min=1e-6)


def _rename_old_weights(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}voices.")]:
        state[name.replace("voices.", "embeddings.")] = state.pop(name)
