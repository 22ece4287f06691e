"""A separation network: front end x design x block, built from one description."""

from torch import Tensor, nn

from unbabble.base.config import NotNegative, Positive, settings
from unbabble.networks.designs import Mixed, SisoOnly
from unbabble.networks.dual_path import DualPathBlock
from unbabble.networks.frontend import FrontEndConfig, make_front_end
from unbabble.networks.tasnet import TasNetConfig


@settings
class MixedDesign:
    """Designs A and B of the paper in two integers."""

    simo_blocks: NotNegative
    siso_blocks: NotNegative


@settings
class SisoOnlyDesign:
    """Design C of the paper in two integers."""

    encoder_blocks: NotNegative
    decoder_blocks: Positive


@settings
class DualPathConfig:
    """Width of the dual-path RNN."""

    channels: Positive = 64
    hidden: Positive = 128  # LSTM units a direction


@settings
class NetworkConfig:
    """Everything that the weights' shapes depend on; travels in checkpoints and model folders."""

    design: MixedDesign | SisoOnlyDesign = MixedDesign(2, 4)
    sample_rate: Positive = 16000  # Hz
    n_sources: Positive = 2  # heads (designs A, B), or the steps trained (design C)
    front_end: FrontEndConfig = TasNetConfig()
    block: DualPathConfig = DualPathConfig()


class SeparationNetwork(nn.Module):
    """Mixture (batch, samples) -> estimates (batch, source, samples)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.block.channels

        def make_block() -> DualPathBlock:
            return DualPathBlock(channels, config.block.hidden)

        self.front_end = make_front_end(config.front_end, channels)
        design = config.design
        self.design: Mixed | SisoOnly
        if isinstance(design, MixedDesign):
            self.design = Mixed(make_block, channels, config.n_sources, design.simo_blocks, design.siso_blocks)
        else:
            self.design = SisoOnly(make_block, channels, design.encoder_blocks, design.decoder_blocks)

    def forward(self, mixture: Tensor, n_sources: int | None = None) -> Tensor:
        """Separate.

        mixture: (batch, samples), any length from one sample; n_sources: how many to give, by default as
        trained (only a SISO-only network can give another number: ValueError). Returns
        (batch, source, samples).
        """
        frames = self.front_end.encode(mixture)
        grids = self.design(self.front_end.grid(frames), n_sources or self.config.n_sources)
        return self.front_end.decode(grids, frames, mixture.shape[-1])

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
