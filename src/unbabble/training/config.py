"""What a training recipe holds: every number that a run needs."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from unbabble.base.config import (
    Fraction,
    NotNegative,
    NotNegativeFloat,
    Positive,
    PositiveFloat,
    kind_given,
    renamed,
    settings,
)
from unbabble.inference.model_folder import SHORTEST_OVERLAP_S, WINDOWS_S
from unbabble.mixing.recipe import Mixtures, most_speakers, paper_mixtures
from unbabble.networks.config import HOPS, DiarizerConfig, NetworkConfig
from unbabble.networks.losses import LossConfig, SnrLoss
from unbabble.tracking.activity import FRAME_S
from unbabble.training.optimizers import AdamWConfig, CosineSchedule, OptimizerConfig, ScheduleConfig, StepSchedule


@settings
class SetConfig:
    """Mixtures on disk (unbabble.sets.read): the folder of one subset, and which of its mixtures and sources."""

    folder: Path
    mixture: str | None = None  # mix_clean, mix_both ...; null: the layout's default
    sources: str | None = None  # anechoic or reverb, for WHAMR!


@settings
class DataConfig:
    """Where speech and noise come from. Relative paths are taken from the recipe's folder."""

    speech: tuple[Path, ...] = ()  # folders of <speaker>/<files>
    noise: tuple[Path, ...] = ()
    splits: Path | None = None  # JSON {"train": {corpus: [name]}, "valid": {...}}
    valid_speakers: NotNegative = 2  # held out where there is no split file; 0: validate on all
    train_set: SetConfig | None = None  # to train on, instead of drawing mixtures from speech
    valid_set: SetConfig | None = None
    rooms: Positive = 400  # made beforehand, to draw from again and again
    bank: Path | None = None  # rooms made by `unbabble rooms`, instead
    cache: Path | None = None  # folder for decoded audio, which processes and runs can share; null: in the run's
    workers: NotNegative = 1  # processes that mix while the network trains
    mix_on_device: bool = False  # convolve and sum where the network trains; the workers only read
    description: str = "not described"  # of the speech and noise, for the model card
    license: str = "not stated"  # of the speech and noise, for the model card
    datasets: tuple[str, ...] = ()  # that are on the Hub (OWNER/NAME), for the model card

    _old = renamed(licence="license")

    def undescribed(self) -> "DataConfig":
        return replace(self, description=DataConfig.description, license=DataConfig.license, datasets=())


@settings
class TrainingConfig:
    """How the weights of any network are found. Defaults after the authors' configuration."""

    start: str | None = None  # model whose weights the run begins with: a bundled one's name, or a folder
    start_weight: Fraction = 0.0  # of its weights in the exported ones: less of what they could is unlearned
    batch_size: Positive = 4
    learning_rate: PositiveFloat = 1e-3
    schedule: ScheduleConfig = StepSchedule()
    optimizer: OptimizerConfig = AdamWConfig()
    weight_decay: float = 0.0  # decoupled
    accumulate: Positive = 1  # batches whose gradients are averaged into one step
    gradient_clip: PositiveFloat = 5.0  # norm
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay a step of the averaged weights that are validated
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast, on GPUs that have it
    compile: bool = False  # the network, with torch.compile
    max_epochs: Positive = 100
    max_minutes: PositiveFloat | None = None
    clock: Literal["wall", "processor"] = (
        "wall"  # of the minutes; processor: this process's own, fair on a busy machine
    )
    epoch_size: Positive = 20000  # mixtures
    valid_size: Positive = 5000  # mixtures
    patience: Positive = 10  # epochs without a better validation loss
    checkpoint_minutes: NotNegativeFloat = 10.0  # between checkpoints within an epoch
    log_steps: Positive = 10  # between figures in TensorBoard

    _old = renamed(start_share="start_weight")


@settings
class SeparationTraining(TrainingConfig):
    """How a separator is trained."""

    loss: LossConfig = SnrLoss()


@settings
class DiarizationLoss:
    """Cross-entropy of the counts of active speakers, and of speaker embeddings among the speakers to train on.

    scale, margin: of the additive-margin softmax (arXiv 1801.05599, section 3); weight: of the embeddings' part.
    """

    scale: PositiveFloat = 20.0
    margin: NotNegativeFloat = 0.2
    weight: NotNegativeFloat = 0.2


@settings
class DiarizationTraining(TrainingConfig):
    """How a diarizer is trained."""

    loss: DiarizationLoss = DiarizationLoss()
    batch_size: Positive = 16
    learning_rate: PositiveFloat = 2e-3
    schedule: Annotated[ScheduleConfig, kind_given("cosine")] = CosineSchedule(warmup=0.05)
    weight_decay: float = 1e-2
    max_epochs: Positive = 1000
    max_minutes: PositiveFloat | None = 30.0
    epoch_size: Positive = 4000
    valid_size: Positive = 96
    patience: Positive = 100
    checkpoint_minutes: NotNegativeFloat = 5.0

    _old_minutes = renamed(minutes="max_minutes")

    @model_validator(mode="before")
    @classmethod
    def _old_loss(cls, values: Any) -> Any:
        """Keys that were not yet below ``loss``."""
        names = {"scale": "scale", "margin": "margin", "voice_weight": "weight"}
        if not isinstance(values, dict) or not names.keys() & values:
            return values
        moved = {new: values[old] for old, new in names.items() if old in values}
        rest = {key: value for key, value in values.items() if key not in names}
        return {**rest, "loss": {**values.get("loss", {}), **moved}}


@settings
class CardConfig:
    """What a model says of itself."""

    name: str = "unnamed"
    version: str = "1"
    license: str = "not stated"
    limits: str = "not stated"  # where it fails, in plain words
    weights: Literal["single", "half"] = "single"  # the precision that they are rounded to and stored in

    _old = renamed(licence="license")

    def undescribed(self: "C") -> "C":
        told = [field.name for field in fields(CardConfig) if field.name != "weights"]
        return replace(self, **{name: getattr(CardConfig, name) for name in told})


C = TypeVar("C", bound=CardConfig)


@settings
class ModelConfig(CardConfig):
    """What a separator says of itself, and how long recordings are divided for it."""

    window_s: Annotated[float, Field(ge=WINDOWS_S[0], le=WINDOWS_S[1])] = (
        8.0  # separated at once, of longer recordings
    )
    overlap_s: Annotated[float, Field(ge=SHORTEST_OVERLAP_S)] = 2.0  # of neighbouring windows

    @model_validator(mode="after")
    def _overlapping(self) -> "ModelConfig":
        if self.overlap_s > self.window_s / 2:
            raise ValueError("overlap_s must be at most half of window_s")
        return self


@settings
class Recipe:
    """All of a run, of whatever kind."""

    kind: str = ""
    seed: NotNegative = 0
    data: DataConfig = DataConfig()
    mixtures: Mixtures = paper_mixtures()
    network: Any = None
    training: TrainingConfig = TrainingConfig()
    model: CardConfig = CardConfig()

    @model_validator(mode="after")
    def _of_one_length(self) -> "Recipe":
        if any(part.recipe.duration_s is None for part in self.mixtures):
            raise ValueError("mixtures to train on need a duration_s")
        if len({part.recipe.duration_s for part in self.mixtures}) > 1:
            raise ValueError("all parts of the mixtures to train on must have the same duration_s")
        return self

    def undescribed(self: "R") -> "R":
        """Without what it says of its data and its model."""
        return replace(self, data=self.data.undescribed(), model=self.model.undescribed())


R = TypeVar("R", bound=Recipe)


@settings
class SeparationRecipe(Recipe):
    """All of a separator's training."""

    kind: Literal["separation"] = "separation"
    network: NetworkConfig = NetworkConfig()
    training: SeparationTraining = SeparationTraining()
    model: ModelConfig = ModelConfig()

    @model_validator(mode="after")
    def _agreed(self) -> "SeparationRecipe":
        mixed = most_speakers(self.mixtures), self.mixtures[0].recipe.sample_rate
        if mixed != (self.network.n_sources, self.network.sample_rate):
            raise ValueError("mixtures and network must agree on the (largest) number of talkers and the sample rate")
        if self.data.mix_on_device and self.data.train_set is not None:
            raise ValueError("mix_on_device is for mixtures that are drawn; a train_set is mixed already")
        return self


@settings
class DiarizationRecipe(Recipe):
    """All of a diarizer's training."""

    kind: Literal["diarization"] = "diarization"
    network: DiarizerConfig = DiarizerConfig()
    training: DiarizationTraining = DiarizationTraining()

    @model_validator(mode="before")
    @classmethod
    def _old_licence(cls, values: Any) -> Any:
        """A key that was not yet below ``model``."""
        if not isinstance(values, dict) or "licence" not in values:
            return values
        rest = {key: value for key, value in values.items() if key != "licence"}
        return {**rest, "model": {"license": values["licence"], **values.get("model", {})}}

    @model_validator(mode="after")
    def _agreed(self) -> "DiarizationRecipe":
        if self.mixtures[0].recipe.sample_rate != self.network.sample_rate:
            raise ValueError("mixtures and network must agree on the sample rate")
        if self.network.hop * HOPS != round(FRAME_S * self.network.sample_rate):
            raise ValueError(f"network.hop must be a frame of {FRAME_S * 1000:g} ms divided by {HOPS}")
        if self.data.train_set or self.data.valid_set or self.data.mix_on_device:
            raise ValueError("a diarizer learns from mixtures that are drawn; leave out train_set and the like")
        return self


RECIPES: dict[str, type[Recipe]] = {"separation": SeparationRecipe, "diarization": DiarizationRecipe}
