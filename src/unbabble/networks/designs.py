"""Where one mixture becomes several speakers: figure 1 of the paper.

*Rethinking the Separation Layers in Speech Separation Networks* (ICASSP 2021, arXiv 2011.08400). A SIMO
layer makes C features out of one; a SISO layer maps one feature to one. A design places them. It sees grids
(batch, rows, columns, channels) and blocks (grid -> grid of the same shape), and looks inside neither.
The source axis is written out, (batch, source, ...), and folded only in ``per_source``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

MakeBlock = Callable[[], nn.Module]


def per_source(module: nn.Module, grids: Tensor) -> Tensor:
    """The same module on the grid of every source: (batch, source, ...) -> (batch, source, ...)."""
    folded: Tensor = module(grids.flatten(0, 1))
    return folded.reshape(*grids.shape[:-1], -1)


class Mixed(nn.Module):
    """Designs A and B: SIMO blocks, the split into C features, then SISO blocks shared by the sources.

    ``siso_blocks=0`` is the SIMO-only design A; ``simo_blocks=0`` puts the split directly on E(y).
    """

    def __init__(
        self, make_block: MakeBlock, channels: int, n_sources: int, simo_blocks: int, siso_blocks: int
    ) -> None:
        super().__init__()
        self.n_sources = n_sources
        self.simo = nn.Sequential(*(make_block() for _ in range(simo_blocks)))
        self.heads = nn.Linear(channels, channels * n_sources)
        self.siso = SisoModule(make_block, channels, 2, siso_blocks) if siso_blocks else None

    def forward(self, mixture: Tensor, n_sources: int | None = None) -> Tensor:
        """Mixture grid (batch, rows, columns, channels) -> a grid per source (batch, source, ...).

        Raises ValueError where ``n_sources`` is not the number of heads.
        """
        if n_sources not in (None, self.n_sources):
            raise ValueError(f"this network has {self.n_sources} heads and cannot give {n_sources} sources")
        return self.refine(self.split(mixture), mixture)

    def split(self, mixture: Tensor) -> Tensor:
        """SIMO module: E(y) -> F_1..F_C, (batch, source, rows, columns, channels)."""
        heads: Tensor = self.heads(self.simo(mixture)).reshape(*mixture.shape[:-1], self.n_sources, -1)
        return heads.movedim(3, 1)

    def refine(self, features: Tensor, mixture: Tensor) -> Tensor:
        """SISO module: each F_i with E(y) through the same blocks; shapes as in ``split``."""
        if self.siso is None:
            return features
        beside = torch.cat([features, mixture.unsqueeze(1).expand_as(features)], dim=-1)
        return per_source(self.siso, beside)


class SisoOnly(nn.Module):
    """Design C: a SISO encoder once, then a SISO decoder again and again, one source a step.

    No weight depends on the number of sources, so that the decoder may be run for any number of steps.
    The previous estimate enters as the grid that the decoder gave for it (zeros at the first step).
    """

    def __init__(self, make_block: MakeBlock, channels: int, encoder_blocks: int, decoder_blocks: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*(make_block() for _ in range(encoder_blocks)))
        self.decoder = SisoModule(make_block, channels, 3, decoder_blocks)

    def forward(self, mixture: Tensor, n_sources: int | None = None) -> Tensor:
        """Mixture grid (batch, rows, columns, channels) -> a grid per step (batch, source, ...)."""
        if n_sources is None or n_sources < 1:
            raise ValueError(f"say for how many sources the decoder is to run: at least 1, not {n_sources}")
        latent = self.encode(mixture)
        estimates = [torch.zeros_like(mixture)]
        for _ in range(n_sources):
            estimates.append(self.step(latent, mixture, estimates[-1]))
        return torch.stack(estimates[1:], dim=1)

    def encode(self, mixture: Tensor) -> Tensor:
        """SISO encoder: E(y) -> H, computed once."""
        latent: Tensor = self.encoder(mixture)
        return latent

    def step(self, latent: Tensor, mixture: Tensor, previous: Tensor) -> Tensor:
        """SISO decoder: H, E(y) and the previous estimate -> the next estimate; all grids of one shape."""
        estimate: Tensor = self.decoder(torch.cat([latent, mixture, previous], dim=-1))
        return estimate


class SisoModule(nn.Module):
    """A linear layer that joins ``inputs`` grids on their channels into one, then blocks."""

    def __init__(self, make_block: MakeBlock, channels: int, inputs: int, blocks: int) -> None:
        super().__init__()
        self.join = nn.Linear(inputs * channels, channels)
        self.blocks = nn.Sequential(*(make_block() for _ in range(blocks)))

    def forward(self, joined: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.join(joined))
        return features
