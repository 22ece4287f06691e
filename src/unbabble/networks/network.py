"""A separation network: front end x design x block, built from one description."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from unbabble.networks.config import NetworkConfig, SisoOnlyDesign
from unbabble.networks.designs import Mixed, MultiScale, SisoOnly
from unbabble.networks.front_ends import FrontEnd
from unbabble.networks.layers import full_precision

OLD_NAMES = {  # of weights, before they were called as in the literature
    "front_end.enter.": "front_end.bottleneck.",
    "front_end.leave.": "front_end.mask_head.",
    ".back.": ".projection.",
    ".join.": ".fuse.",
}


class SeparationNetwork(nn.Module):
    """Mixture (batch, samples) -> estimates (batch, source, samples)."""

    front_end: FrontEnd

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = config.front_end.build(config.channels)
        self.design: Mixed | MultiScale | SisoOnly = config.design.build(config)
        self.register_load_state_dict_pre_hook(_rename_old_weights)  # type: ignore[no-untyped-call]

    def forward(self, mixture: Tensor, n_sources: int | None = None) -> Tensor:
        """Separate.

        Parameters
        ----------
        mixture
            (batch, samples), of any length from one sample, at the network's sample rate.
        n_sources
            How many estimates to give; None: as many as in training. Only a SISO-only network can give another
            number.

        Returns
        -------
        tensor
            Estimates, (batch, source, samples).

        Raises
        ------
        ValueError
            Where the network cannot give so many.
        """
        with full_precision(mixture):
            frames = self.front_end.encode(mixture)
        grid, n_sources = self.front_end.grid(frames), n_sources or self.config.n_sources
        if isinstance(self.design, SisoOnly):
            grids = self.design(grid, n_sources, self.feed_back(frames))
        else:
            grids = self.design(grid, n_sources)
        masked = self.front_end.mask(grids, frames)
        with full_precision(mixture):
            return self.front_end.decode(masked.float(), mixture.shape[-1])

    def feed_back(self, frames: Tensor) -> Callable[[Tensor], Tensor]:
        """How the grid of a SISO-only decoder's step enters the next one; frames: E(y), (batch, frames, filters)."""
        design = self.config.design
        if isinstance(design, SisoOnlyDesign) and design.feedback == "grid":
            return lambda grid: grid
        return lambda grid: self.front_end.grid(self.front_end.mask(grid.unsqueeze(1), frames)[:, 0])

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def _rename_old_weights(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        new = name
        for old_part, new_part in OLD_NAMES.items():
            new = new.replace(old_part, new_part)
        if new != name:
            state[new] = state.pop(name)
