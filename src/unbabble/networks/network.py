"""A separation network: front end x design x block, built from one description."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from unbabble.base.config import NotNegative, Positive, settings
from unbabble.networks.blocks import BlockConfig, MakesBlock
from unbabble.networks.blocks.dual_path import DualPathConfig
from unbabble.networks.designs import Mixed, MultiScale, SisoOnly
from unbabble.networks.front_ends import FrontEnd, FrontEndConfig
from unbabble.networks.front_ends.tasnet import TasNetConfig
from unbabble.networks.layers import full_precision


@settings
class MixedDesign:
    """Designs A and B of the paper in two integers."""

    simo_blocks: NotNegative
    siso_blocks: NotNegative
    kind: Literal["mixed"] = "mixed"

    def build(self, network: "NetworkConfig") -> Mixed:
        simo, siso = (network.built([network.block] * number) for number in (self.simo_blocks, self.siso_blocks))
        return Mixed(simo, siso, network.channels, network.n_sources)


@settings
class SisoOnlyDesign:
    """Design C of the paper in two integers.

    feedback: how the previous estimate enters a step: as the grid that the decoder gave, before the mask, or as the
    masked E(y), by the way that E(y) itself came in (the paper's words).
    """

    encoder_blocks: NotNegative
    decoder_blocks: Positive
    feedback: Literal["grid", "estimate"] = "grid"
    kind: Literal["siso_only"] = "siso_only"

    def build(self, network: "NetworkConfig") -> SisoOnly:
        encoder, decoder = ([network.block] * number for number in (self.encoder_blocks, self.decoder_blocks))
        return SisoOnly(network.built(encoder), network.built(decoder), network.channels)


@settings
class ScaleConfig:
    """Blocks of one scale, before the split and after it."""

    simo: tuple[BlockConfig, ...] = ()
    siso: tuple[BlockConfig, ...] = ()


@settings
class MultiScaleDesign:
    """Design B on several scales, the finest first; each has half as many rows as the one before it."""

    scales: Annotated[tuple[ScaleConfig, ...], Field(min_length=1, max_length=6)]
    kind: Literal["multi_scale"] = "multi_scale"

    def build(self, network: "NetworkConfig") -> MultiScale:
        simo = [network.built(scale.simo) for scale in self.scales]
        siso = [network.built(scale.siso) for scale in self.scales]
        return MultiScale(simo, siso, network.channels, network.n_sources)


def _kind_by_keys(value: Any) -> Any:
    """Recipes and cards of before there were kinds tell their design by its keys."""
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "scales" in value:
        return {"kind": "multi_scale", **value}
    return {"kind": "siso_only" if value.keys() & {"encoder_blocks", "decoder_blocks"} else "mixed", **value}


DesignConfig = Annotated[
    MixedDesign | SisoOnlyDesign | MultiScaleDesign, Field(discriminator="kind"), BeforeValidator(_kind_by_keys)
]


@settings
class NetworkConfig:
    """Everything that the weights' shapes depend on; travels in checkpoints and model folders."""

    design: DesignConfig = MixedDesign(2, 4)
    sample_rate: Positive = 16000  # Hz
    n_sources: Positive = 2  # heads (designs A, B), or the steps trained (design C)
    front_end: FrontEndConfig = TasNetConfig()
    channels: Positive = 64  # of the grids
    block: BlockConfig = DualPathConfig()  # of the designs in two integers

    @model_validator(mode="before")
    @classmethod
    def _channels_once_in_block(cls, values: Any) -> Any:
        """Older recipes and cards have the channels in the block."""
        block = values.get("block") if isinstance(values, dict) else None
        if not isinstance(block, dict) or "channels" not in block:
            return values
        rest = {key: value for key, value in block.items() if key != "channels"}
        return {**values, "channels": block["channels"], "block": rest}

    def build(self) -> "SeparationNetwork":
        """With weights drawn at random."""
        return SeparationNetwork(self)

    def built(self, blocks: Iterable[MakesBlock]) -> list[nn.Module]:
        """A block for each description, with weights of its own."""
        return [block.build(self.channels) for block in blocks]


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
