"""The front end of TasNet: a learned encoder and decoder around masks, its frames cut into chunks."""

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from unbabble.base.config import Positive, settings

if TYPE_CHECKING:
    from unbabble.networks.front_ends.tasnet.front_end import TasNetFrontEnd


@settings
class TasNetConfig:
    """Sizes of the learned front end. Defaults: 2 ms windows at 16 kHz, after the authors' configuration."""

    kind: Literal["tasnet"] = "tasnet"
    filters: Positive = 64
    window: Positive = 32  # samples
    hop: Positive = 16  # samples
    chunk: Positive = 100  # frames
    chunk_hop: Positive = 50  # frames
    start: Literal["random", "fourier"] = "random"  # what the filters are before training
    magnitudes: bool = False  # show the network the magnitudes of quadrature pairs beside E(y)
    masks: Literal["relu", "complex"] = "relu"  # on every filter, or on quadrature pairs

    @model_validator(mode="after")
    def _whole(self) -> "TasNetConfig":
        if self.window % self.hop or self.chunk % self.chunk_hop:
            raise ValueError("window must be a multiple of hop, and chunk of chunk_hop")
        if self.filters % 2 and (self.magnitudes or self.start == "fourier" or self.masks == "complex"):
            raise ValueError("filters must be even for quadrature pairs (magnitudes, start: fourier, masks: complex)")
        return self

    def build(self, channels: int) -> "TasNetFrontEnd":
        from unbabble.networks.front_ends.tasnet.front_end import TasNetFrontEnd

        return TasNetFrontEnd(self, channels)
