"""A mixture as facts: everything that was drawn, enough to render it again."""

import math
from typing import Literal

from pydantic import model_validator

from unbabble.base.config import Finite, NotNegative, NotNegativeFloat, Positive, PositiveFloat, settings
from unbabble.mixing.recipe import Kbps, Target
from unbabble.mixing.timeline import Spans, overlap_ratio

Position = tuple[Finite, Finite, Finite]  # metres


@settings
class Room:
    """A shoebox with one corner at 0, 0, 0. sources_m: of the talkers in order; the last is that of the noise."""

    size_m: Position
    t60_s: PositiveFloat
    microphone_m: Position
    sources_m: tuple[Position, ...]

    @model_validator(mode="after")
    def _inside(self) -> "Room":
        for place in (self.microphone_m, *self.sources_m):
            if not all(0 < x < side for x, side in zip(place, self.size_m, strict=True)):
                raise ValueError(f"the position {list(place)} is not inside the room of {list(self.size_m)} m")
        return self


@settings
class Stretch:
    """A piece of a recording: ``length`` samples of the mixture beginning at ``at``.

    They are the samples of the recording from ``start`` on, played ``speed`` times as fast.
    """

    recording: str  # its key in the corpus
    start: NotNegative
    length: Positive
    at: NotNegative


@settings
class Talker:
    """One talker. level_db: RMS while talking over that of the first talker, dry; cutoff_hz: of a low pass."""

    speaker: str
    stretches: tuple[Stretch, ...]
    level_db: Finite = 0.0
    speed: PositiveFloat = 1.0
    cutoff_hz: PositiveFloat | None = None

    @property
    def recordings(self) -> tuple[str, ...]:
        """Keys of what is heard, each once, in order."""
        return tuple(dict.fromkeys(stretch.recording for stretch in self.stretches))


@settings
class Noise:
    """A noise from sample ``start`` on, repeated where it is too short; SNR of the sum of the dry talkers."""

    recording: str
    start: NotNegative
    snr_db: Finite


@settings
class Codec:
    """A lossy codec that the mixture has been through. kbps: bit rate in kbit/s; MP3 takes the nearest it has."""

    name: Literal["mp3", "opus"]
    kbps: Kbps


@settings
class Plan:
    """All of one mixture; lengths and positions in samples at ``sample_rate``.

    lower_hz, cutoff_hz: edges of the band that everything has; from 0 it is a low pass.
    """

    sample_rate: Positive
    n_samples: Positive
    talkers: tuple[Talker, ...]
    noise: Noise | None = None
    room: Room | None = None
    target: Target = "reverberant"
    cutoff_hz: PositiveFloat | None = None
    lower_hz: NotNegativeFloat = 0.0
    codec: Codec | None = None

    @model_validator(mode="after")
    def _a_band(self) -> "Plan":
        if self.lower_hz and self.lower_hz >= (self.cutoff_hz or 0):
            raise ValueError(f"lower_hz is {self.lower_hz:g} Hz; expected a cutoff_hz above it, or 0")
        return self

    @model_validator(mode="after")
    def _all_placed(self) -> "Plan":
        if self.room is not None and len(self.room.sources_m) <= len(self.talkers):
            raise ValueError(
                f"sources_m has {len(self.room.sources_m)} positions; "
                f"expected one for each of {len(self.talkers)} talkers, and the noise's"
            )
        return self

    @property
    def spans(self) -> Spans:
        """When each talker talks."""
        return tuple(
            tuple((stretch.at, stretch.at + stretch.length) for stretch in talker.stretches)
            for talker in self.talkers
        )

    @property
    def overlap_ratio(self) -> float:
        """The fraction of a talker's speech during which another talks as well: the paper's overlap ratio."""
        return overlap_ratio(self.spans)


def samples_needed(length: int, speed: float) -> int:
    """Samples of a recording that give ``length`` samples when played ``speed`` times as fast."""
    return math.ceil(length * speed)


def samples_given(n_there: int, speed: float) -> int:
    """Samples that so many of a recording give when played ``speed`` times as fast."""
    length = int(n_there / speed)
    return length if samples_needed(length, speed) <= n_there else length - 1
