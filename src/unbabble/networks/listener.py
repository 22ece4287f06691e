"""The listener: how many talk in each frame, and whose voice it is. A time-delay network over log-mel frames."""

from dataclasses import field
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from unbabble.base.config import Positive, settings

MOST_COUNTED = 2  # 0, 1, and 2 or more talkers
HOPS = 4  # of log-mel frames, to a frame of what is heard
QUIETEST = 1e-6  # power of a mel band under the signal's mean power that still counts


@settings
class ListenerConfig:
    """Sizes. sample_rate: low, so that telephone speech sounds like any other; a frame is four hops (40 ms)."""

    sample_rate: Positive = 8000
    window: Positive = 256  # samples
    hop: Positive = 80  # samples
    bands: Positive = 40
    channels: Positive = 128
    dilations: tuple[Positive, ...] = field(default=(1, 2, 4, 4, 2, 1))
    voice: Positive = 64  # numbers that describe a voice


class Listener(nn.Module):
    """Mixture (batch, samples) -> counts (batch, frames, 3), log-probabilities; voices (batch, frames, voice).

    The mean of a voice's frames, scaled to length 1, points in the same direction for the same talker.
    """

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config)
        channels = config.channels
        self.first = TimeDelay(config.bands, channels, width=7, stride=HOPS)
        self.layers = nn.ModuleList(TimeDelay(channels, channels, dilation=dilation) for dilation in config.dilations)
        self.counts = nn.Conv1d(channels, MOST_COUNTED + 1, 1)
        self.voices = nn.Conv1d(channels, config.voice, 1)

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.first(self.mel(mixture))
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        counts = functional.log_softmax(self.counts(hidden), dim=1)
        return counts.transpose(1, 2), self.voices(hidden).transpose(1, 2)


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

    def __init__(self, config: ListenerConfig) -> None:
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


def mel_filters(config: ListenerConfig) -> Tensor:
    """Triangles (bands, window // 2 + 1) of equal width on the mel scale, of sum 1 each."""
    mels = torch.linspace(0, 2595 * torch.log10(torch.tensor(1 + config.sample_rate / 2 / 700)), config.bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = torch.arange(config.window // 2 + 1) * (config.sample_rate / config.window)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(1, keepdim=True).clamp(min=1e-6)
