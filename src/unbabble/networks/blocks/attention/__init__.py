"""The attention block: every row of a grid beside every other."""

from typing import TYPE_CHECKING, Literal

from unbabble.base.config import Positive, settings

if TYPE_CHECKING:
    from unbabble.networks.blocks.attention.block import AttentionBlock


@settings
class AttentionConfig:
    """Sizes of an attention block."""

    kind: Literal["attention"] = "attention"
    heads: Positive = 4
    hidden: Positive = 128  # channels inside the feed-forward layers

    @property
    def multiple(self) -> int:
        return 2 * self.heads

    def build(self, channels: int) -> "AttentionBlock":
        from unbabble.networks.blocks.attention.block import AttentionBlock

        return AttentionBlock(channels, self.heads, self.hidden)
