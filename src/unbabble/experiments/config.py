"""What is compared, as YAML files describe it, and what of that can be refused before PyTorch is loaded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from unbabble.base.config import Fraction, NotNegative, Positive, PositiveFloat, read_settings, settings
from unbabble.base.output import NAME
from unbabble.corpora.scan import check_sources
from unbabble.errors import TrainingError
from unbabble.networks.config import MixedDesign, SisoOnlyDesign
from unbabble.training.config import SeparationRecipe
from unbabble.training.optimizers import TrapezoidSchedule
from unbabble.training.recipe import read_recipe, with_changes, with_data

Design = MixedDesign | SisoOnlyDesign
Changes = tuple[str, ...]  # key=value, as on the command line


@settings
class TestConfig:
    """The mixtures that all designs are scored on, by the recipe that they are trained by."""

    count: Positive = 3000
    seed: NotNegative = 1
    split: str | None = "test"  # null: all speakers


@settings
class Halving:
    """When networks are scored, and how many of them go on.

    minutes: of training until each round ends; keep: how many networks are left after it, for every round but the
    last; decay: so much longer, as a part of the minutes, is a branch of the run trained that lets the learning rate
    down, and that is scored. The run itself goes on with the learning rate held, so that no minute of a survivor is
    lost.
    """

    minutes: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    keep: tuple[Positive, ...] = ()
    decay: Annotated[Fraction, Field(gt=0)] = 0.1

    @model_validator(mode="after")
    def _agreed(self) -> "Halving":
        if list(self.minutes) != sorted(set(self.minutes)) or len(self.keep) != len(self.minutes) - 1:
            raise ValueError("expected minutes that rise, and one number to keep for every round but the last")
        return self


@settings
class Comparison:
    """Designs by name, and what they have in common.

    recipe: taken from the folder of this file; designs: each a design, or changes to the recipe, for networks that
    differ in more; changes: to the recipe, for all alike; score: SI-SDR, as in the paper's table, or its improvement.
    """

    recipe: Path
    designs: Annotated[dict[str, Design | Changes], Field(min_length=1)]
    changes: Changes = ()
    score: Literal["si_sdr", "si_sdri"] = "si_sdr"
    seeds: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0,)
    test: TestConfig = TestConfig()
    halving: Halving | None = None  # null: all designs are trained by the whole recipe

    @model_validator(mode="after")
    def _named(self) -> "Comparison":
        for name in self.designs:
            if not NAME.fullmatch(name):
                raise ValueError(f"the name {name!r} is none for a folder; expected letters, digits, - _ . +")
        if self.halving is not None and len(self.seeds) > 1:
            raise ValueError("halving is of one seed; expected seeds: [0], say")
        return self


def read_comparison(path: Path) -> Comparison:
    """Read a comparison file. Raises RecipeError."""
    comparison = read_settings(Comparison, path)
    return replace(comparison, recipe=path.absolute().parent / comparison.recipe)


def recipe_of(
    comparison: Comparison,
    speech: Sequence[Path] | None = None,
    noise: Sequence[Path] | None = None,
    splits: Path | None = None,
    *,
    only: Sequence[str] = (),
) -> SeparationRecipe:
    """What all designs have in common, once it is seen that each can be trained.

    Parameters
    ----------
    comparison
        Of designs.
    speech, noise, splits
        Instead of the recipe's.
    only
        Names of the designs that are meant.

    Raises
    ------
    RecipeError, CorpusError, TrainingError
    """
    unknown = sorted(set(only) - set(comparison.designs))
    if unknown:
        raise TrainingError(f"no design called {', '.join(unknown)}; there are {', '.join(comparison.designs)}")
    recipe = with_data(read_recipe(comparison.recipe), speech, noise, splits)
    if not isinstance(recipe, SeparationRecipe):
        raise TrainingError(f"{comparison.recipe}: of {recipe.kind}; only separators are compared")
    recipe = with_changes(recipe, comparison.changes)
    for design in comparison.designs.values():
        schedule = design_in(recipe, design).training.schedule
        if comparison.halving is not None and not isinstance(schedule, TrapezoidSchedule):
            raise TrainingError("halving needs training.schedule={kind: trapezoid}, whose end can be put anywhere")
    check_sources(recipe.data.speech)
    return recipe


def design_in(recipe: SeparationRecipe, design: Design | Changes) -> SeparationRecipe:
    """The recipe of one design."""
    if isinstance(design, tuple):
        return with_changes(recipe, design)
    return replace(recipe, network=replace(recipe.network, design=design))
