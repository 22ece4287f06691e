"""Networks as they are described in recipes and cards, and read without PyTorch: separators and the diarizer."""

from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from unbabble.base.config import NotNegative, Positive, renamed, settings
from unbabble.networks.blocks import BlockConfig, MakesBlock
from unbabble.networks.blocks.dual_path import DualPathConfig
from unbabble.networks.front_ends import FrontEndConfig
from unbabble.networks.front_ends.tasnet import TasNetConfig

if TYPE_CHECKING:
    from torch import nn

    from unbabble.networks.designs import Mixed, MultiScale, SisoOnly
    from unbabble.networks.diarizer import Diarizer
    from unbabble.networks.network import SeparationNetwork

MOST_COUNTED = 2  # 0, 1, and 2 or more talkers
HOPS = 4  # of log-mel frames, to a frame of the output


@settings
class MixedDesign:
    """Designs A and B of the paper in two integers."""

    simo_blocks: NotNegative
    siso_blocks: NotNegative
    kind: Literal["mixed"] = "mixed"

    def build(self, network: "NetworkConfig") -> "Mixed":
        from unbabble.networks.designs import Mixed

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

    def build(self, network: "NetworkConfig") -> "SisoOnly":
        from unbabble.networks.designs import SisoOnly

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

    def build(self, network: "NetworkConfig") -> "MultiScale":
        from unbabble.networks.designs import MultiScale

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

    @model_validator(mode="after")
    def _channels_suit_blocks(self) -> "NetworkConfig":
        scales = self.design.scales if isinstance(self.design, MultiScaleDesign) else ()
        for block in (self.block, *(block for scale in scales for block in (*scale.simo, *scale.siso))):
            if self.channels % block.multiple:
                raise ValueError(
                    f"{self.channels} channels do not suit a block of kind {block.kind}; "
                    f"expected a multiple of {block.multiple}"
                )
        return self

    def build(self) -> "SeparationNetwork":
        """With weights drawn at random."""
        from unbabble.networks.network import SeparationNetwork

        return SeparationNetwork(self)

    def built(self, blocks: Iterable[MakesBlock]) -> "list[nn.Module]":
        """A block for each description, with weights of its own."""
        return [block.build(self.channels) for block in blocks]


@settings
class DiarizerConfig:
    """Sizes. sample_rate: low, so that telephone speech sounds like any other; a frame is four hops (40 ms)."""

    sample_rate: Positive = 8000
    window: Positive = 256  # samples
    hop: Positive = 80  # samples
    bands: Positive = 40
    channels: Positive = 128
    dilations: tuple[Positive, ...] = field(default=(1, 2, 4, 4, 2, 1))
    embedding: Positive = 64  # dimensions

    _old = renamed(voice="embedding")

    def build(self) -> "Diarizer":
        """With weights drawn at random."""
        from unbabble.networks.diarizer import Diarizer

        return Diarizer(self)
