"""Many networks tried for a while, the best of them for longer: successive halving (arXiv 1502.07943, section 3)."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from unbabble.base.config import Fraction, Positive, PositiveFloat, settings
from unbabble.base.progress import Progress
from unbabble.errors import TrainingError
from unbabble.inference.model_folder import CARD
from unbabble.training.checkpoint import BEST, LAST
from unbabble.training.config import Recipe
from unbabble.training.fit import train
from unbabble.training.schedules import TrapezoidSchedule

HELD, BRANCH = "held", "branch-{:g}-minutes"


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


def branch_of(run: Path, minutes: float) -> Path:
    """Where the branch of a run lies that a round scores."""
    return run / BRANCH.format(minutes)


def train_round(recipe: Recipe, halving: Halving, minutes: float, run: Path, progress: Progress) -> Path:
    """Train a network until a round ends, what is there already left out; returns the branch to be scored.

    Raises TrainingError where the recipe's schedule is no trapezoid, and what ``train`` raises.
    """
    held, branch = run / HELD, branch_of(run, minutes)
    if not (branch / "model" / CARD).is_file():
        _train_until(recipe, minutes, 0.0, held, progress)
        if not (branch / LAST).exists():
            shutil.rmtree(branch, ignore_errors=True)
            shutil.copytree(held, branch, ignore=shutil.ignore_patterns("model", "logs", BEST))
        longer = 1 + halving.decay
        _train_until(recipe, minutes * longer, halving.decay / longer, branch, progress)
    return branch


def survivors(names: Sequence[str], score_of: Callable[[str], float], keep: int) -> list[str]:
    """The best by their scores, in the order that they came in."""
    best = sorted(names, key=score_of, reverse=True)[:keep]
    return [name for name in names if name in best]


def _train_until(recipe: Recipe, minutes: float, decay: float, run: Path, progress: Progress) -> None:
    schedule = recipe.training.schedule
    if not isinstance(schedule, TrapezoidSchedule):
        raise TrainingError("halving needs training.schedule={kind: trapezoid}, whose end can be put anywhere")
    training = replace(recipe.training, max_minutes=minutes, schedule=replace(schedule, decay=decay))
    train(replace(recipe, training=training), run, (run / LAST).exists(), progress)
