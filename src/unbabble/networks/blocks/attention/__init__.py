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

    def build(self, channels: int) -> "AttentionBlock":
        from unbabble.networks.blocks.attention.block import AttentionBlock

        if channels % (2 * self.heads):
            raise ValueError(f"{channels} channels cannot be shared out evenly to {self.heads} attention heads")
        return AttentionBlock(channels, self.heads, self.hidden)
