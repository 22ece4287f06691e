"""Where one mixture becomes several speakers: figure 1 of the paper.

*Rethinking the Separation Layers in Speech Separation Networks* (arXiv 2011.08400, figure 1). A SIMO layer makes C
features out of one; a SISO layer maps one feature to one. A design places them. It sees grids (batch, rows, columns,
channels) and blocks (grid -> grid of the same shape), and looks inside neither. The source axis is written out,
(batch, source, ...), and folded only in ``per_source``.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbabble.networks.blocks import Block

Blocks = Iterable[nn.Module]


def per_source(module: Block, grids: Tensor) -> Tensor:
    """The same module on the grid of every source: (batch, source, ...) -> (batch, source, ...)."""
    folded = module(grids.flatten(0, 1))
    return folded.reshape(*grids.shape[:2], *folded.shape[1:])


class Mixed(nn.Module):
    """Designs A and B: SIMO blocks, the split into C features, then SISO blocks shared by the sources.

    No SISO blocks make the SIMO-only design A; no SIMO blocks put the split directly on E(y).
    """

    def __init__(self, simo: Blocks, siso: Blocks, channels: int, n_sources: int) -> None:
        super().__init__()
        siso = tuple(siso)
        self.simo = nn.Sequential(*simo)
        self.heads = Heads(channels, n_sources)
        self.siso = SisoModule(siso, channels, 2) if siso else None

    def forward(self, mixture: Tensor, n_sources: int | None = None) -> Tensor:
        """Split one grid into one for each source.

        Parameters
        ----------
        mixture
            Grid of E(y), (batch, rows, columns, channels).
        n_sources
            The number of heads, or None.

        Returns
        -------
        tensor
            (batch, source, rows, columns, channels).

        Raises
        ------
        ValueError
            Where another number of sources is asked for.
        """
        self.heads.check(n_sources)
        return self.refine(self.split(mixture), mixture)

    def split(self, mixture: Tensor) -> Tensor:
        """SIMO module: E(y) -> F_1..F_C, (batch, source, rows, columns, channels)."""
        features: Tensor = self.heads(self.simo(mixture))
        return features

    def refine(self, features: Tensor, mixture: Tensor) -> Tensor:
        """SISO module: each F_i with E(y) through the same blocks; shapes as in ``split``."""
        return features if self.siso is None else per_source(self.siso, with_mixture(features, mixture))


class MultiScale(nn.Module):
    """Design B on several scales of the rows: the split at the coarsest, E(y) given to the SISO module at every one.

    On the way down every scale has its SIMO blocks, and half as many rows as the one above it. Then come the heads,
    and on the way up the SISO blocks of every scale, shared by the sources; each scale joins what comes from below
    with the mixture's own features. An early split with a shared reconstruction is also that of SepReformer (arXiv
    2406.05983, section 3). With one scale it differs from ``Mixed`` in what the SISO module is given of the mixture:
    features after the SIMO blocks, not E(y).
    """

    def __init__(self, simo: Sequence[Blocks], siso: Sequence[Blocks], channels: int, n_sources: int) -> None:
        super().__init__()
        n_steps = len(simo) - 1
        self.coarsening = 2**n_steps
        self.simo = nn.ModuleList(nn.Sequential(*blocks) for blocks in simo)
        self.down = nn.ModuleList(HalfRows(channels) for _ in range(n_steps))
        self.heads = Heads(channels, n_sources)
        self.siso = nn.ModuleList(SisoModule(blocks, channels, 2) for blocks in siso)
        self.up = nn.ModuleList(TwiceRows(channels) for _ in range(n_steps))

    def forward(self, mixture: Tensor, n_sources: int | None = None) -> Tensor:
        """Split one grid into one for each source, as ``Mixed`` does."""
        self.heads.check(n_sources)
        n_rows = mixture.shape[1]
        scales = self.encode(F.pad(mixture, (0, 0, 0, 0, 0, -n_rows % self.coarsening)))
        return self.refine(self.heads(scales[-1]), scales)[:, :, :n_rows]

    def encode(self, mixture: Tensor) -> list[Tensor]:
        """SIMO module: E(y) -> its features at every scale, the finest first."""
        scales = [self.simo[0](mixture)]
        for down, blocks in zip(self.down, self.simo[1:], strict=True):
            scales.append(blocks(down(scales[-1])))
        return scales

    def refine(self, features: Tensor, scales: list[Tensor]) -> Tensor:
        """SISO module: each F_i of the coarsest scale, joined with the mixture at every scale up to the finest."""
        for scale in reversed(range(len(scales))):
            features = per_source(self.siso[scale], with_mixture(features, scales[scale]))
            if scale:
                features = per_source(self.up[scale - 1], features)
        return features


class SisoOnly(nn.Module):
    """Design C: a SISO encoder once, then a SISO decoder again and again, one source a step.

    No weight depends on the number of sources, so that the decoder may be run for any number of steps. The previous
    estimate enters as the grid that ``feed_back`` makes of the decoder's own (zeros at the first step).
    """

    def __init__(self, encoder: Blocks, decoder: Blocks, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*encoder)
        self.decoder = SisoModule(decoder, channels, 3)

    def forward(self, mixture: Tensor, n_sources: int | None, feed_back: Callable[[Tensor], Tensor]) -> Tensor:
        """Give one grid for each step.

        Parameters
        ----------
        mixture
            Grid of E(y), (batch, rows, columns, channels).
        n_sources
            Steps, at least 1.
        feed_back
            The decoder's grid -> the grid that enters the next step; both (batch, rows, columns, channels).

        Returns
        -------
        tensor
            (batch, source, rows, columns, channels).

        Raises
        ------
        ValueError
            Where ``n_sources`` is not given.
        """
        if n_sources is None or n_sources < 1:
            raise ValueError(f"say for how many sources the decoder is to run: at least 1, not {n_sources}")
        latent, previous = self.encode(mixture), torch.zeros_like(mixture)
        estimates = []
        for _ in range(n_sources):
            estimates.append(self.step(latent, mixture, previous))
            previous = feed_back(estimates[-1])
        return torch.stack(estimates, dim=1)

    def encode(self, mixture: Tensor) -> Tensor:
        """SISO encoder: E(y) -> H, computed once."""
        latent: Tensor = self.encoder(mixture)
        return latent

    def step(self, latent: Tensor, mixture: Tensor, previous: Tensor) -> Tensor:
        """SISO decoder: H, E(y) and the previous estimate -> the next estimate; all grids of one shape."""
        estimate: Tensor = self.decoder(torch.cat([latent, mixture, previous], dim=-1))
        return estimate


class Heads(nn.Linear):
    """The split: a fully connected layer from one grid to one for each source."""

    def __init__(self, channels: int, n_sources: int) -> None:
        super().__init__(channels, channels * n_sources)
        self.n_sources = n_sources

    def forward(self, grid: Tensor) -> Tensor:
        """(batch, rows, columns, channels) -> (batch, source, rows, columns, channels)."""
        return super().forward(grid).reshape(*grid.shape[:-1], self.n_sources, -1).movedim(grid.ndim - 1, 1)

    def check(self, n_sources: int | None) -> None:
        """Raise ValueError where a number of sources is asked for that is not that of the heads."""
        if n_sources not in (None, self.n_sources):
            raise ValueError(f"this network has {self.n_sources} heads and cannot give {n_sources} sources")


class SisoModule(nn.Module):
    """A linear layer that fuses ``inputs`` grids, side by side on the channels, into one, then blocks."""

    def __init__(self, blocks: Blocks, channels: int, inputs: int) -> None:
        super().__init__()
        self.fuse = nn.Linear(inputs * channels, channels)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, grids: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.fuse(grids))
        return features


class HalfRows(nn.Module):
    """Grid (batch, rows, columns, channels) -> (batch, rows / 2, ...), by a convolution with a stride of 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (4, 1), stride=(2, 1), padding=(1, 0))

    def forward(self, grid: Tensor) -> Tensor:
        return over_maps(self.conv, grid)


class TwiceRows(nn.Module):
    """Grid (batch, rows, columns, channels) -> (batch, 2 * rows, ...), by a transposed convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, (4, 1), stride=(2, 1), padding=(1, 0))

    def forward(self, grid: Tensor) -> Tensor:
        return over_maps(self.conv, grid)


def over_maps(convolution: nn.Module, grid: Tensor) -> Tensor:
    """A convolution over the rows and columns of a grid."""
    maps: Tensor = convolution(grid.permute(0, 3, 1, 2))
    return maps.permute(0, 2, 3, 1)


def with_mixture(features: Tensor, mixture: Tensor) -> Tensor:
    """The mixture's grid beside that of every source: (batch, source, rows, columns, 2 * channels)."""
    return torch.cat([features, mixture.unsqueeze(1).expand_as(features)], dim=-1)
