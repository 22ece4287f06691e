"""The ranges that mixtures are drawn from. Every default is the paper's (PAPER: data)."""

from typing import Any

from pydantic import model_validator

from unbabble.config import NotNegative, Positive, PositiveFloat, PositiveRange, Range, Share, ShareRange, settings


@settings
class RoomRecipe:
    """A shoebox room with everybody anywhere in it, off the walls."""

    length_m: PositiveRange = (3.0, 10.0)
    width_m: PositiveRange = (3.0, 10.0)
    height_m: PositiveRange = (2.5, 4.0)
    t60_s: PositiveRange = (0.1, 0.5)
    wall_distance_m: PositiveFloat = 0.5

    @model_validator(mode="after")
    def _roomy(self) -> "RoomRecipe":
        if 2 * self.wall_distance_m >= min(self.length_m[0], self.width_m[0], self.height_m[0]):
            raise ValueError("wall_distance_m leaves no place in the smallest room")
        return self


@settings
class LowPassRecipe:
    """Bandwidths as coded speech has them, so that nobody is told apart by bandwidth."""

    talker_share: Share = 0.0  # of the talkers, each alone
    mixture_share: Share = 0.0  # of the mixtures, all signals alike
    cutoff_hz: PositiveRange = (3500.0, 8000.0)


@settings
class MixtureRecipe:
    """What one mixture is drawn from, uniformly."""

    sample_rate: Positive = 16000
    duration_s: PositiveFloat = 4.0
    n_speakers: Positive = 2
    overlap_ratio: ShareRange = (0.0, 1.0)  # shared samples over the length of one utterance
    level_db: Range = (0.0, 5.0)  # of the first talker over each other one, dry
    noise_snr_db: Range | None = (10.0, 20.0)  # sum of the dry talkers over the noise; null: no noise
    room: RoomRecipe | None = RoomRecipe()  # null: no room
    low_pass: LowPassRecipe = LowPassRecipe()


@settings
class SharedRecipe:
    """A recipe and its part of all mixtures, relative to the other parts."""

    share: PositiveFloat
    recipe: MixtureRecipe
    first: NotNegative = 0  # number of the first mixture that may be of this part: easier parts can lead


Mixtures = tuple[SharedRecipe, ...]


def paper_mixtures() -> Mixtures:
    """The paper's recipe alone."""
    return (SharedRecipe(1.0, MixtureRecipe()),)


def sources_of(mixtures: Mixtures) -> tuple[int, int]:
    """The number of talkers and the sample rate (Hz) that all parts agree on; ValueError where they do not."""
    agreed: set[Any] = {(part.recipe.n_speakers, part.recipe.sample_rate) for part in mixtures}
    if len(agreed) != 1:
        raise ValueError("all parts of the mixtures must agree on n_speakers and sample_rate")
    n_speakers, sample_rate = agreed.pop()
    return n_speakers, sample_rate
