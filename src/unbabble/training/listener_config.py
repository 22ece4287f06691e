"""The recipe of a listener's training."""

from dataclasses import replace

from pydantic import model_validator

from unbabble.base.config import NotNegative, NotNegativeFloat, Positive, PositiveFloat, settings
from unbabble.mixing.recipe import Mixtures
from unbabble.networks.listener import HOPS, ListenerConfig
from unbabble.tracking.activity import FRAME_S
from unbabble.training.config import DataConfig, check_same_length
from unbabble.training.schedules import CosineSchedule


@settings
class ListenerTrainingConfig:
    """How the weights are found. scale, margin: of the additive-margin softmax over voices (Wang et al., 2018)."""

    start: str | None = None  # whose weights the run begins with: "listener", the bundled one's name, or a folder
    minutes: PositiveFloat = 30.0
    batch_size: Positive = 16
    learning_rate: PositiveFloat = 2e-3
    schedule: CosineSchedule = CosineSchedule(warmup=0.05)  # over the minutes
    weight_decay: NotNegativeFloat = 1e-2
    gradient_clip: PositiveFloat = 5.0  # norm
    scale: PositiveFloat = 20.0
    margin: NotNegativeFloat = 0.2
    voice_weight: NotNegativeFloat = 0.2  # of the loss of voices beside that of counts
    valid_size: Positive = 96  # mixtures
    checkpoint_minutes: PositiveFloat = 5.0  # between checkpoints, before each of which is validated


@settings
class ListenerRecipe:
    """All of a listener's training."""

    mixtures: Mixtures
    seed: NotNegative = 0
    data: DataConfig = DataConfig()
    network: ListenerConfig = ListenerConfig()
    training: ListenerTrainingConfig = ListenerTrainingConfig()
    licence: str = "not stated"  # of the listener

    @model_validator(mode="after")
    def _agreed(self) -> "ListenerRecipe":
        if self.mixtures[0].recipe.sample_rate != self.network.sample_rate:
            raise ValueError("mixtures and network must agree on the sample rate")
        if self.network.hop * HOPS != round(FRAME_S * self.network.sample_rate):
            raise ValueError(f"network.hop must be a frame of {FRAME_S * 1000:g} ms divided by {HOPS}")
        if self.data.train_set or self.data.valid_set or self.data.mix_on_device:
            raise ValueError("a listener learns from mixtures that are drawn; leave out train_set and the like")
        check_same_length(self.mixtures)
        return self

    def undescribed(self) -> "ListenerRecipe":
        """Without what it says of its data and its listener."""
        return replace(self, data=self.data.undescribed(), licence=ListenerRecipe.licence)
