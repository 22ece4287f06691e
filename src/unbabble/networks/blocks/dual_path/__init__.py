"""The dual-path RNN block: along the columns of a grid, then along its rows."""

from typing import TYPE_CHECKING, ClassVar, Literal

from unbabble.base.config import Positive, settings

if TYPE_CHECKING:
    from unbabble.networks.blocks.dual_path.block import DualPathBlock


@settings
class DualPathConfig:
    """Sizes of the dual-path RNN."""

    hidden: Positive = 128  # LSTM units a direction
    kind: Literal["dual_path"] = "dual_path"
    multiple: ClassVar[int] = 1

    def build(self, channels: int) -> "DualPathBlock":
        from unbabble.networks.blocks.dual_path.block import DualPathBlock

        return DualPathBlock(channels, self.hidden)
