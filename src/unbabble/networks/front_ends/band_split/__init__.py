"""The STFT with band split: a waveform as a grid of frames and bands."""

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from unbabble.base.config import Positive, settings

if TYPE_CHECKING:
    from unbabble.networks.front_ends.band_split.front_end import BandSplitFrontEnd


@settings
class BandSplitConfig:
    """Sizes of the STFT and its bands. Defaults: 32 ms windows every 16 ms at 16 kHz, bands of 0.1 to 0.9 kHz."""

    kind: Literal["band_split"] = "band_split"
    window: Positive = 512  # samples
    hop: Positive = 256  # samples
    bands: Positive = 20
    narrowest: Positive = 4  # bins of the lowest band; each is wider than the one below it by the same factor

    @model_validator(mode="after")
    def _whole(self) -> "BandSplitConfig":
        if self.window % 2 or self.window % self.hop or self.window == self.hop:
            raise ValueError("window must be even, and a multiple of hop, at least twice as long")
        if self.bands * self.narrowest > self.bins:
            raise ValueError(
                f"{self.bands} bands of at least {self.narrowest} bins are more than the {self.bins} of the window"
            )
        return self

    def build(self, channels: int) -> "BandSplitFrontEnd":
        from unbabble.networks.front_ends.band_split.front_end import BandSplitFrontEnd

        return BandSplitFrontEnd(self, channels)

    @property
    def bins(self) -> int:
        """From 0 Hz to half the sample rate, both included."""
        return self.window // 2 + 1

    @property
    def widths(self) -> list[int]:
        """Bins of each band."""
        edges = band_edges(self.bins, self.bands, self.narrowest)
        return [high - low for low, high in pairwise(edges)]


def band_edges(bins: int, bands: int, narrowest: int) -> list[int]:
    """First bins of the bands and one past the last: bands + 1 numbers from 0 to ``bins``.

    The lowest band has ``narrowest`` bins; the widths grow by one factor from band to band, as widths on the mel
    scale do, so that the bands fill all bins.
    """
    low, high = 1.0, bins ** (1 / max(1, bands - 1))  # with which the highest band alone has all bins
    for _ in range(60):
        factor = (low + high) / 2
        too_wide = sum(narrowest * factor**band for band in range(bands)) > bins
        low, high = (low, factor) if too_wide else (factor, high)
    reached = [sum(narrowest * low**band for band in range(below)) for below in range(bands)]
    return [math.floor(edge + 0.5) for edge in reached] + [bins]
