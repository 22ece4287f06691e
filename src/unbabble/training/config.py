"""A training recipe: every number that a run needs, in one YAML file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from unbabble.config import NotNegative, Positive, PositiveFloat, read_settings, settings
from unbabble.mixing.recipe import Mixtures, paper_mixtures, sources_of
from unbabble.networks.network import NetworkConfig


@settings
class DataConfig:
    """Where speech and noise come from. Relative paths are taken from the recipe's folder."""

    speech: tuple[Path, ...] = ()  # folders of <speaker>/<files>
    noise: tuple[Path, ...] = ()
    splits: Path | None = None  # JSON {"train": {corpus: [name]}, "valid": {...}}
    valid_speakers: NotNegative = 2  # held out where there is no split file; 0: validate on all
    rooms: Positive = 400  # impulse responses made beforehand and drawn from again and again
    workers: NotNegative = 1  # processes that mix while the network trains
    description: str = "not described"  # of the speech and noise, for the model card
    licence: str = "not stated"  # of the speech and noise, for the model card


@settings
class StepSchedule:
    """Learning rate times ``factor`` every ``epochs`` epochs (PAPER: training)."""

    kind: Literal["step"] = "step"
    factor: PositiveFloat = 0.98
    epochs: Positive = 2


@settings
class CosineSchedule:
    """A linear rise, then half a cosine down to nearly nothing at the end of the epochs or the minutes."""

    kind: Literal["cosine"] = "cosine"
    warmup: PositiveFloat = 0.02  # part of the whole run


@settings
class TrainingConfig:
    """How the weights are found. Defaults after the authors' configuration."""

    loss: Literal["snr", "si_sdr"] = "snr"
    batch_size: Positive = 4
    learning_rate: PositiveFloat = 1e-3
    schedule: StepSchedule | CosineSchedule = StepSchedule()
    weight_decay: float = 0.0  # decoupled (AdamW); 0 is plain Adam
    gradient_clip: PositiveFloat = 5.0  # norm
    max_epochs: Positive = 100
    max_minutes: PositiveFloat | None = None
    epoch_size: Positive = 20000  # mixtures
    valid_size: Positive = 5000  # mixtures
    patience: Positive = 10  # epochs without a better validation loss


@settings
class ModelConfig:
    """What the model folder says of itself."""

    name: str = "unnamed"
    version: str = "1"
    licence: str = "not stated"
    limits: str = "not stated"  # where it fails, in plain words
    window_s: PositiveFloat = 8.0  # separated at once when the recording is longer
    overlap_s: PositiveFloat = 2.0  # of neighbouring windows


@settings
class TrainingRecipe:
    """All of a run."""

    seed: NotNegative = 0
    data: DataConfig = DataConfig()
    mixtures: Mixtures = paper_mixtures()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    model: ModelConfig = ModelConfig()

    @model_validator(mode="after")
    def _agreed(self) -> "TrainingRecipe":
        if sources_of(self.mixtures) != (self.network.n_sources, self.network.sample_rate):
            raise ValueError("mixtures and network must agree on the number of talkers and the sample rate")
        return self


def read_recipe(path: Path) -> TrainingRecipe:
    """Read a recipe file; its relative paths are taken from its own folder. Raises RecipeError."""
    recipe = read_settings(TrainingRecipe, path)
    data, base = recipe.data, path.absolute().parent
    return with_data(
        recipe,
        speech=[base / folder for folder in data.speech],
        noise=[base / folder for folder in data.noise],
        splits=base / data.splits if data.splits else None,
    )


def with_data(
    recipe: TrainingRecipe, speech: Sequence[Path] | None, noise: Sequence[Path] | None, splits: Path | None
) -> TrainingRecipe:
    """The recipe with other folders and split file; what is None stays."""
    data = replace(
        recipe.data,
        speech=recipe.data.speech if speech is None else tuple(path.absolute() for path in speech),
        noise=recipe.data.noise if noise is None else tuple(path.absolute() for path in noise),
        splits=recipe.data.splits if splits is None else splits.absolute(),
    )
    return replace(recipe, data=data)
