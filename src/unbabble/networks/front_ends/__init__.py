"""Front ends: a waveform as a grid of features, and a grid per source as waveforms.

A grid has the shape (batch, rows, columns, channels). What its rows and columns mean is the front end's own affair;
blocks and designs only see the grid. Another kind of front end is a folder of its own, with a description that has a
``kind`` and ``build``, beside it what it describes, and a place in ``FrontEndConfig``. Descriptions are read without
PyTorch.
"""

from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import Field

from unbabble.base.config import kind_given
from unbabble.networks.front_ends.band_split import BandSplitConfig
from unbabble.networks.front_ends.tasnet import TasNetConfig

if TYPE_CHECKING:
    from torch import Tensor

FrontEndConfig = Annotated[TasNetConfig | BandSplitConfig, Field(discriminator="kind"), kind_given("tasnet")]


class FrontEnd(Protocol):
    """What a network knows of a front end."""

    def encode(self, mixture: "Tensor") -> "Tensor":
        """Mixture (batch, samples) -> frames E(y) (batch, frames, filters)."""

    def grid(self, frames: "Tensor") -> "Tensor":
        """Frames (batch, frames, filters) -> grid (batch, rows, columns, channels)."""

    def mask(self, grids: "Tensor", frames: "Tensor") -> "Tensor":
        """Grids (batch, source, rows, columns, channels), E(y) -> masked E(y) (batch, source, frames, filters)."""

    def decode(self, masked: "Tensor", n_samples: int) -> "Tensor":
        """Frames of every source (batch, source, frames, filters) -> waveforms (batch, source, samples)."""
