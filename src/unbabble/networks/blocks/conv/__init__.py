"""The convolution block: what lies next to each other in a grid."""

from typing import TYPE_CHECKING, ClassVar, Literal

from unbabble.base.config import Positive, settings

if TYPE_CHECKING:
    from unbabble.networks.blocks.conv.block import ConvBlock


@settings
class ConvConfig:
    """Sizes of a convolution block."""

    kind: Literal["conv"] = "conv"
    kernel: Positive = 3  # rows and columns, an odd number
    multiple: ClassVar[int] = 1

    def build(self, channels: int) -> "ConvBlock":
        from unbabble.networks.blocks.conv.block import ConvBlock

        return ConvBlock(channels, self.kernel)
