"""The ranges that mixtures are drawn from. Every default is the paper's, after the authors' configuration."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from unbabble.base.config import (
    Fraction,
    FractionRange,
    NotNegative,
    NotNegativeFloat,
    Positive,
    PositiveFloat,
    PositiveRange,
    Range,
    read_settings,
    renamed,
    settings,
)

ROUNDING = 1e-9  # of ranges: 1.15 - 0.95 is less than 0.2
LEAST_KBPS, MOST_KBPS = 12.0, 256.0  # at less, Opus has a band of 4 kHz, which comes out 0.1 ms late

Kbps = Annotated[float, Field(ge=LEAST_KBPS, le=MOST_KBPS)]
KbpsRange = Annotated[PositiveRange, AfterValidator(lambda bounds: _kbps(bounds))]


@settings
class Overlap:
    """Every talker says one utterance; all are of one length, follow one another and fill the mixture.

    ratios: ranges of the overlap ratio (samples that neighbours share over the length of one utterance); one
    of them is chosen, then a ratio in it. Fully overlapped: [[1.0, 1.0]].
    """

    kind: Literal["overlap"] = "overlap"
    ratios: tuple[FractionRange, ...] = ((0.0, 1.0),)

    @model_validator(mode="after")
    def _some(self) -> "Overlap":
        if not self.ratios:
            raise ValueError("ratios is empty; expected at least one range such as [0.0, 1.0]")
        return self


@settings
class WholeUtterances:
    """One whole recording of each talker, all from the first sample on, as in WSJ0-mix and LibriMix.

    length: ``min`` ends the mixture with the shortest of them, ``max`` with the longest.
    """

    kind: Literal["whole"] = "whole"
    length: Literal["min", "max"] = "min"


@settings
class Conversation:
    """Talkers take turns at random, with pauses, interruptions and backchannels."""

    kind: Literal["conversation"] = "conversation"
    turn_s: PositiveRange = (1.0, 8.0)
    pause_s: Annotated[Range, AfterValidator(lambda bounds: _from_zero(bounds))] = (0.0, 2.0)  # between turns
    long_pause_probability: Fraction = 0.0  # of the turns, before which there is a long pause
    long_pause_s: Annotated[Range, AfterValidator(lambda bounds: _from_zero(bounds))] = (5.0, 60.0)
    overlap_probability: Fraction = 0.3  # of the turns, which begin before the last one has ended
    overlap_s: PositiveRange = (0.2, 2.0)  # by so much, at most to the beginning of the last turn
    backchannel_probability: Fraction = 0.2  # of the turns, during which another talker says something short
    backchannel_s: PositiveRange = (0.3, 1.0)

    _old = renamed(
        long_pause_share="long_pause_probability",
        overlap_share="overlap_probability",
        backchannel_share="backchannel_probability",
    )


Timeline = Annotated[Overlap | WholeUtterances | Conversation, Field(discriminator="kind")]


@settings
class RoomRecipe:
    """A shoebox room with everybody anywhere in it, off the walls and apart."""

    length_m: PositiveRange = (3.0, 10.0)
    width_m: PositiveRange = (3.0, 10.0)
    height_m: PositiveRange = (2.5, 4.0)
    t60_s: PositiveRange = (0.1, 0.5)
    wall_distance_m: PositiveFloat = 0.5
    apart_m: PositiveFloat = 0.5  # at least, of talkers, noise and microphone

    @model_validator(mode="after")
    def _roomy(self) -> "RoomRecipe":
        free = [low - 2 * self.wall_distance_m for low in (self.length_m[0], self.width_m[0], self.height_m[0])]
        if min(free) <= 0:
            raise ValueError("wall_distance_m leaves no place in the smallest room")
        if self.apart_m > max(free) / 2:
            raise ValueError("apart_m is more than half of the free length of the smallest room")
        return self


@settings
class LowPassRecipe:
    """Bandwidths as coded speech has them, so that nobody is told apart by bandwidth."""

    talker_probability: Fraction = 0.0  # of the talkers, each alone
    mixture_probability: Fraction = 0.0  # of the mixtures, all signals alike
    cutoff_hz: PositiveRange = (3500.0, 8000.0)

    _old = renamed(talker_share="talker_probability", mixture_share="mixture_probability")


@settings
class TelephoneRecipe:
    """Mixtures that come over a telephone: a band for all signals alike, instead of a low pass."""

    probability: Fraction = 0.0  # of the mixtures
    band_hz: PositiveRange = (300.0, 3400.0)  # lower and upper edge

    _old = renamed(share="probability")

    @model_validator(mode="after")
    def _a_band(self) -> "TelephoneRecipe":
        if self.band_hz[0] == self.band_hz[1]:
            raise ValueError("band_hz has nothing between its edges")
        return self


@settings
class CodecRecipe:
    """Mixtures that have been through a lossy codec, as calls and downloads have; their sources have not."""

    mp3_probability: Fraction = 0.0  # of the mixtures
    opus_probability: Fraction = 0.0  # of the mixtures
    mp3_kbps: KbpsRange = (24.0, 128.0)
    opus_kbps: KbpsRange = (12.0, 64.0)

    _old = renamed(mp3_share="mp3_probability", opus_share="opus_probability")

    @model_validator(mode="after")
    def _one_codec(self) -> "CodecRecipe":
        if self.mp3_probability + self.opus_probability > 1:
            raise ValueError(
                "mp3_probability and opus_probability are more than 1 together; a mixture has one codec at most"
            )
        return self


@settings
class SameSpeakerRecipe:
    """Mixtures whose first two talkers are one speaker at two speeds, who counts as two."""

    probability: Fraction = 0.0  # of the mixtures with two talkers or more
    speeds_apart: PositiveFloat = 0.1  # at least

    _old = renamed(share="probability")


Target = Literal["reverberant", "early", "direct"]


@settings
class MixtureRecipe:
    """What one mixture is drawn from, uniformly.

    target: what the sources are in a room: all that arrives of a talker (the paper), what arrives within 50 ms
    of the direct sound, or the direct sound alone; the mixture always has all of it.
    """

    sample_rate: Annotated[int, Field(ge=8000)] = 16000
    duration_s: Annotated[float, Field(ge=0.025, allow_inf_nan=False)] | None = (
        4.0  # null, for whole utterances: as long as they are
    )
    n_speakers: Annotated[NotNegative | tuple[NotNegative, Positive], AfterValidator(lambda n: _speakers(n))] = 2
    minutes_power: NotNegativeFloat = 0.0  # a speaker's weight is the minutes of speech to this power; 0: all alike
    timeline: Timeline = Overlap()
    level_db: Range = (0.0, 5.0)  # of each later talker over the first, dry
    speed: PositiveRange | None = None  # each talker's, with the pitch; null: unchanged
    noise_snr_db: Range | None = (10.0, 20.0)  # sum of the dry talkers over the noise; null: no noise
    noise_names: str = "*"  # a pattern of the names of the noises to draw from, such as "music-*"
    noise_minutes_power: NotNegativeFloat = 0.0  # as minutes_power: short noises do not crowd out long ones
    room: RoomRecipe | None = RoomRecipe()  # null: no room
    target: Target = "reverberant"
    low_pass: LowPassRecipe = LowPassRecipe()
    telephone: TelephoneRecipe = TelephoneRecipe()
    codec: CodecRecipe = CodecRecipe()
    same_speaker: SameSpeakerRecipe = SameSpeakerRecipe()

    @model_validator(mode="after")
    def _agreed(self) -> "MixtureRecipe":
        if self.duration_s is None and not isinstance(self.timeline, WholeUtterances):
            raise ValueError("duration_s: null is for timelines of whole utterances only; give seconds")
        if self.noise_snr_db is None and self.fewest_speakers == 0:
            raise ValueError("n_speakers of 0 needs noise: with nobody talking there is nothing else to hear")
        if self.duration_s is None and self.fewest_speakers == 0:
            raise ValueError("n_speakers of 0 needs duration_s: no utterance says how long the mixture is")
        slowest, fastest = self.speed or (1.0, 1.0)
        if self.same_speaker.probability and fastest - slowest < self.same_speaker.speeds_apart - ROUNDING:
            raise ValueError("same_speaker needs a range of speed at least as wide as its speeds_apart")
        return self

    @property
    def fewest_speakers(self) -> int:
        return self.n_speakers if isinstance(self.n_speakers, int) else self.n_speakers[0]

    @property
    def most_speakers(self) -> int:
        return self.n_speakers if isinstance(self.n_speakers, int) else self.n_speakers[1]


@settings
class WeightedRecipe:
    """A recipe, and how many of the mixtures are of it: its weight relative to the other parts."""

    weight: PositiveFloat
    recipe: MixtureRecipe
    first: NotNegative = 0  # number of the first mixture that may be of this part: easier parts can lead

    _old = renamed(share="weight")


def _mixtures(parts: tuple[WeightedRecipe, ...]) -> tuple[WeightedRecipe, ...]:
    if not parts:
        raise ValueError("is empty; expected at least one part: {weight: 1, recipe: {}}")
    if len({part.recipe.sample_rate for part in parts}) > 1:
        raise ValueError("all parts must agree on the sample_rate")
    if min(part.first for part in parts) > 0:
        raise ValueError("no part begins with the first mixture; set first: 0 for one of them")
    return parts


Mixtures = Annotated[tuple[WeightedRecipe, ...], AfterValidator(_mixtures)]


def paper_mixtures() -> Mixtures:
    """The paper's recipe alone."""
    return (WeightedRecipe(1.0, MixtureRecipe()),)


@settings
class _WithMixtures:
    """The part of a recipe file that tells of mixtures; the rest is for training."""

    mixtures: Mixtures = paper_mixtures()
    seed: Any = None
    data: Any = None
    network: Any = None
    training: Any = None
    model: Any = None


def read_mixtures(path: Path | None) -> Mixtures:
    """The mixtures of a recipe file; the paper's where there is none. Raises RecipeError."""
    return paper_mixtures() if path is None else read_settings(_WithMixtures, path).mixtures


def most_speakers(mixtures: Mixtures) -> int:
    """Of any part."""
    return max(part.recipe.most_speakers for part in mixtures)


def _speakers(n_speakers: int | tuple[int, int]) -> int | tuple[int, int]:
    if not isinstance(n_speakers, int) and n_speakers[0] > n_speakers[1]:
        raise ValueError(f"a range goes from low to high, not from {n_speakers[0]} to {n_speakers[1]}")
    return n_speakers


def _kbps(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] < LEAST_KBPS or bounds[1] > MOST_KBPS:
        raise ValueError(f"bit rates go from {LEAST_KBPS:g} to {MOST_KBPS:g} kbit/s")
    return bounds


def _from_zero(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] < 0:
        raise ValueError("a pause is not negative; for turns that begin early see overlap_probability")
    return bounds
