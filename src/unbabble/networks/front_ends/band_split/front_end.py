"""What the STFT with band split computes."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbabble.networks.front_ends.band_split import BandSplitConfig
from unbabble.networks.layers import GlobalNorm, complex_product, log_power, pair_power, power_floor, with_edges


class BandSplitFrontEnd(nn.Module):
    """STFT, its bins joined into bands, and complex masks (rows = frames, columns = bands).

    After band-split RNN (arXiv 2209.15174, section 3). Every band has a linear
    layer of its own into the blocks, which all bands share, and one out of them. Into it go the STFT, with the mean
    power of each band made 1, and its log powers, as with the ``magnitudes`` of TasNet's front end. Both are free of
    the input's level, so the whole network scales with its input: twice the mixture gives twice the estimates,
    silence gives silence. A band that is all but empty, as those above the limit of a telephone, stays so.

    Masks are complex: with windows this long, talkers meet in a bin, and a real mask would give each of them the
    phase of the mixture. They have no activation, because the parts of the best mask have either sign and no bound:
    it is larger than 1 wherever talkers cancel each other.
    """

    basis: Tensor
    members: Tensor

    def __init__(self, config: BandSplitConfig, channels: int) -> None:
        super().__init__()
        self.window, self.hop = config.window, config.hop
        self.register_buffer("basis", stft_basis(config.window, config.hop), persistent=False)
        self.register_buffer("members", members(config.widths), persistent=False)
        self.level_norm = GlobalNorm(config.bins)
        self.bottleneck = BandSplit(config.widths, 3, channels)
        self.mask_head = MaskEstimator(config.widths, 2, channels)

    def encode(self, mixture: Tensor) -> Tensor:
        """STFT: mixture (batch, samples) -> frames (batch, frames, 2 * bins), real parts, then imaginary parts."""
        padded = with_edges(mixture, self.window, self.hop)
        return F.conv1d(padded.unsqueeze(1), self.basis, stride=self.hop).transpose(1, 2)

    def grid(self, frames: Tensor) -> Tensor:
        """Frames (batch, frames, 2 * bins) -> grid (batch, frames, bands, channels)."""
        shown = [self._as_loud(frames), self.level_norm(log_power(frames))]
        grid: Tensor = self.bottleneck(torch.cat(shown, dim=-1))
        return grid

    def mask(self, grids: Tensor, frames: Tensor) -> Tensor:
        """Complex masks on the STFT.

        Parameters
        ----------
        grids
            (batch, source, frames, bands, channels).
        frames
            STFT, (batch, frames, 2 * bins).

        Returns
        -------
        tensor
            Masked STFT, (batch, source, frames, 2 * bins).
        """
        masks = self.mask_head(grids.flatten(0, 1)).reshape(*grids.shape[:3], -1)
        return complex_product(masks, frames.unsqueeze(1))

    def decode(self, masked: Tensor, n_samples: int) -> Tensor:
        """The inverse STFT: frames (batch, source, frames, 2 * bins) -> waveforms (batch, source, samples)."""
        waveforms = F.conv_transpose1d(masked.flatten(0, 1).transpose(1, 2), self.basis, stride=self.hop)
        edge = self.window - self.hop
        return waveforms.reshape(*masked.shape[:2], -1)[:, :, edge : edge + n_samples]

    def _as_loud(self, frames: Tensor) -> Tensor:
        """Frames whose bands have all a mean power of 1, but for those that are all but empty."""
        power = pair_power(frames)
        of_bands = power.mean(1, keepdim=True) @ self.members.T / self.members.sum(1)  # (batch, 1, bands)
        loudness = of_bands @ self.members + power_floor(power)  # (batch, 1, bins)
        return frames * torch.rsqrt(loudness).repeat(1, 1, 2)


class BandSplit(nn.Module):
    """A linear layer for each band, from some numbers of each of its bins to channels.

    (batch, frames, numbers * bins) -> (batch, frames, bands, channels). Every band is filled up with zeros to the
    width of the widest, so that one batched product does them all; the weights of what is filled up do nothing.
    """

    places: Tensor

    def __init__(self, widths: list[int], numbers: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("places", places_in_bands(widths, numbers).flatten(), persistent=False)
        bound = (numbers * torch.tensor(widths)).rsqrt().reshape(-1, 1, 1)
        self.weight = nn.Parameter(bound * (2 * torch.rand(len(widths), numbers * max(widths), channels) - 1))
        self.bias = nn.Parameter(bound * (2 * torch.rand(len(widths), 1, channels) - 1))

    def forward(self, features: Tensor) -> Tensor:
        filled_up = F.pad(features.transpose(1, 2), (0, 0, 0, 1)).index_select(1, self.places)
        bands = filled_up.reshape(features.shape[0], *self.weight.shape[:2], features.shape[1])
        grid = bands.transpose(2, 3) @ self.weight + self.bias  # (batch, bands, frames, channels)
        return grid.transpose(1, 2)


class MaskEstimator(nn.Module):
    """A linear layer for each band, from channels to some numbers of each of its bins; shapes as in ``BandSplit``."""

    order: Tensor

    def __init__(self, widths: list[int], numbers: int, channels: int) -> None:
        super().__init__()
        order = places_in_bands(widths, numbers).flatten().argsort()[: numbers * sum(widths)]
        self.register_buffer("order", order, persistent=False)
        bound = channels**-0.5
        self.weight = nn.Parameter(bound * (2 * torch.rand(len(widths), numbers * max(widths), channels) - 1))
        self.bias = nn.Parameter(bound * (2 * torch.rand(len(widths), numbers * max(widths), 1) - 1))

    def forward(self, grid: Tensor) -> Tensor:
        bands = self.weight @ grid.permute(0, 2, 3, 1) + self.bias  # (batch, bands, numbers * widest, frames)
        return bands.flatten(1, 2).index_select(1, self.order).transpose(1, 2)


def places_in_bands(widths: list[int], numbers: int) -> Tensor:
    """Which of (numbers * bins) each place of each band holds: (bands, numbers, widest).

    Where a band is narrower than the widest, the places left over hold one past the last.
    """
    n_bins, width = sum(widths), torch.tensor(widths).unsqueeze(1)
    place = torch.arange(max(widths))
    bins = width.cumsum(0) - width + place  # (bands, widest)
    every = bins.unsqueeze(1) + n_bins * torch.arange(numbers).unsqueeze(1)
    return torch.where((place < width).unsqueeze(1), every, numbers * n_bins)


def members(widths: list[int]) -> Tensor:
    """1 for every bin of a band, else 0: (bands, bins)."""
    band = torch.repeat_interleave(torch.tensor(widths))
    return (band == torch.arange(len(widths)).unsqueeze(1)).float()


def stft_basis(window: int, hop: int) -> Tensor:
    """Cosines, then sines, of every bin under a sine window: (2 * bins, 1, window).

    A tight frame: the transposed convolution with it undoes the convolution, wherever window / hop frames overlap.
    """
    time = torch.arange(window, dtype=torch.float64)
    angles = torch.arange(window // 2 + 1, dtype=torch.float64).unsqueeze(1) * time * (2 * math.pi / window)
    waves = torch.cat([torch.cos(angles), -torch.sin(angles)])
    orthonormal = waves / waves.norm(dim=1, keepdim=True).clamp(min=1)  # the sines of 0 Hz and of the last bin are 0
    tapered: Tensor = orthonormal * torch.sin(math.pi * (time + 0.5) / window) * math.sqrt(2 * hop / window)
    return tapered.float().unsqueeze(1)
