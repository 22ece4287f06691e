"""Front ends: a waveform as a grid of features, and a grid per source as waveforms.

A grid has the shape (batch, rows, columns, channels). What its rows and columns mean is the front
end's own affair; blocks and designs only see the grid.
"""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from unbabble.networks.band_split import BandSplitConfig, BandSplitFrontEnd
from unbabble.networks.tasnet import TasNetConfig, TasNetFrontEnd


def _kind(value: Any) -> str | None:
    """TasNet's where a recipe or card gives none, as those did that were written before there was another."""
    kind: str | None = value.get("kind", "tasnet") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind


FrontEndConfig = Annotated[
    Annotated[TasNetConfig, Tag("tasnet")] | Annotated[BandSplitConfig, Tag("band_split")],
    Discriminator(
        _kind,
        custom_error_type="front_end",
        custom_error_message="expected a front end of kind tasnet or band_split",
    ),
]

FrontEnd = TasNetFrontEnd | BandSplitFrontEnd


def make_front_end(config: FrontEndConfig, channels: int) -> FrontEnd:
    """The front end of a description, for blocks of so many channels."""
    if isinstance(config, TasNetConfig):
        return TasNetFrontEnd(config, channels)
    return BandSplitFrontEnd(config, channels)
