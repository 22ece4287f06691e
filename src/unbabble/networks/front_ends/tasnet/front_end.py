"""What the front end of TasNet computes."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbabble.networks.front_ends.tasnet import TasNetConfig
from unbabble.networks.layers import GlobalNorm, complex_product, log_power, with_edges


class TasNetFrontEnd(nn.Module):
    """Learned encoder and decoder around masks, with chunking (rows = chunks, columns = frames in a chunk).

    Encoder and decoder of TasNet (arXiv 1711.00541), segmentation and overlap-add of DPRNN (arXiv 1910.06379, section
    2.1), masks on E(y).
    The encoder is linear and the normalisation after it removes its level, so the whole network
    scales with its input: twice the mixture gives twice the estimates, silence gives silence.

    With ``magnitudes`` filter k and filter k + filters / 2 are taken as a quadrature pair, and the logarithm of the
    pair's power is shown to the network beside E(y) (arXiv 1910.10400, section 2); masks still apply to E(y). With
    windows far over the paper's 2 ms this learns many times faster. ``masks="complex"`` turns and scales each pair as
    one complex number.
    """

    def __init__(self, config: TasNetConfig, channels: int) -> None:
        super().__init__()
        self.window, self.hop, self.masks = config.window, config.hop, config.masks
        self.chunk, self.chunk_hop = config.chunk, config.chunk_hop
        self.encoder = nn.Conv1d(1, config.filters, self.window, stride=self.hop, bias=False)
        self.decoder = nn.ConvTranspose1d(config.filters, 1, self.window, stride=self.hop, bias=False)
        self.norm = GlobalNorm(config.filters, eps=1e-16)  # so small that quiet recordings keep their scale
        self.magnitude_norm = GlobalNorm(config.filters // 2) if config.magnitudes else None
        self.bottleneck = nn.Linear(config.filters + (config.filters // 2 if config.magnitudes else 0), channels)
        self.mask_head = nn.Linear(channels, config.filters)
        if config.start == "fourier":
            basis = fourier_basis(config.filters, self.window)
            self.encoder.weight.data.copy_(basis)
            self.decoder.weight.data.copy_(2 * basis)

    def encode(self, mixture: Tensor) -> Tensor:
        """E(y): mixture (batch, samples) -> frames (batch, frames, filters)."""
        padded = with_edges(mixture, self.window, self.hop)
        frames: Tensor = self.encoder(padded.unsqueeze(1)).transpose(1, 2)
        return frames

    def grid(self, frames: Tensor) -> Tensor:
        """Frames (batch, frames, filters) -> grid (batch, chunks, frames in a chunk, channels)."""
        features = self.norm(frames)
        if self.magnitude_norm is not None:
            features = torch.cat([features, self.magnitude_norm(log_power(frames))], dim=-1)
        features = self.bottleneck(features)
        edge = self.chunk - self.chunk_hop
        tail = -features.shape[1] % self.chunk_hop
        pieces = F.pad(features, (0, 0, edge, edge + tail))
        pieces = pieces.reshape(pieces.shape[0], -1, self.chunk_hop, pieces.shape[-1])
        later = self.chunk // self.chunk_hop - 1
        return torch.cat([pieces[:, part : part - later or None] for part in range(later + 1)], dim=2)

    def mask(self, grids: Tensor, frames: Tensor) -> Tensor:
        """Masks on E(y).

        Parameters
        ----------
        grids
            (batch, source, chunks, frames in a chunk, channels).
        frames
            E(y), (batch, frames, filters).

        Returns
        -------
        tensor
            Masked E(y), (batch, source, frames, filters).
        """
        features = self._overlap_add(grids.flatten(0, 1))[:, : frames.shape[1]]
        masks = self.mask_head(features).reshape(*grids.shape[:2], *frames.shape[1:])
        if self.masks == "complex":
            return complex_product(masks, frames.unsqueeze(1))
        return F.relu(masks) * frames.unsqueeze(1)

    def decode(self, masked: Tensor, n_samples: int) -> Tensor:
        """Frames of every source (batch, source, frames, filters) -> waveforms (batch, source, samples)."""
        waveforms: Tensor = self.decoder(masked.flatten(0, 1).transpose(1, 2))
        edge = self.window - self.hop
        return waveforms.reshape(*masked.shape[:2], -1)[:, :, edge : edge + n_samples]

    def _overlap_add(self, grid: Tensor) -> Tensor:
        """Grid (batch, chunks, frames in a chunk, channels) -> (batch, frames, channels)."""
        batch, chunks, _, channels = grid.shape
        parts = self.chunk // self.chunk_hop
        pieces = grid.reshape(batch, chunks, parts, self.chunk_hop, channels)
        total = sum(F.pad(pieces[:, :, part], (0, 0, 0, 0, part, parts - 1 - part)) for part in range(parts))
        assert isinstance(total, Tensor)
        return total.reshape(batch, -1, channels)[:, self.chunk - self.chunk_hop :]


def fourier_basis(filters: int, window: int) -> Tensor:
    """Windowed cosines, then the sines in quadrature, evenly over frequency: (filters, 1, window)."""
    time = torch.arange(window) + 0.5
    frequencies = math.pi * (torch.arange(filters // 2) + 0.5) / (filters // 2)  # radians a sample
    phases = frequencies.unsqueeze(1) * time
    waves = torch.cat([torch.cos(phases), torch.sin(phases)]) * torch.sin(math.pi * time / window)
    return (waves / math.sqrt(2 * window)).unsqueeze(1)
