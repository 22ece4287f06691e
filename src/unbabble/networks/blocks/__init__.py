"""Blocks: layers that map a grid (batch, rows, columns, channels) to a grid of the same shape.

Another kind of block is a folder of its own, with a description that has a ``kind`` and ``build``, beside it what
it describes, and a place in ``BlockConfig``. Descriptions are read without PyTorch.
"""

from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import Field

from unbabble.base.config import kind_given
from unbabble.networks.blocks.attention import AttentionConfig
from unbabble.networks.blocks.conv import ConvConfig
from unbabble.networks.blocks.dual_path import DualPathConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

BlockConfig = Annotated[
    DualPathConfig | ConvConfig | AttentionConfig, Field(discriminator="kind"), kind_given("dual_path")
]


class Block(Protocol):
    """What designs know of a block."""

    def __call__(self, grid: "Tensor") -> "Tensor": ...


class MakesBlock(Protocol):
    """What networks know of a block's description.

    Attributes
    ----------
    multiple
        Of which the channels are to be one.
    """

    @property
    def multiple(self) -> int: ...

    def build(self, channels: int) -> "nn.Module": ...
