"""Many networks tried for a while, the best of them for longer: successive halving (arXiv 1502.07943, section 3)."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from unbabble.base.progress import Progress
from unbabble.experiments.config import Halving
from unbabble.inference.model_folder import CARD
from unbabble.training.config import Recipe
from unbabble.training.optimizers import TrapezoidSchedule
from unbabble.training.run import BEST, LAST, train

HELD, BRANCH = "held", "branch-{:g}-minutes"


def branch_of(run: Path, minutes: float) -> Path:
    """Where the branch of a run lies that a round scores."""
    return run / BRANCH.format(minutes)


def train_round(recipe: Recipe, halving: Halving, minutes: float, run: Path, progress: Progress) -> Path:
    """Train a network until a round ends, what is there already left out; returns the branch to be scored.

    Raises what ``train`` raises.
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
    assert isinstance(schedule, TrapezoidSchedule)  # the comparison has been checked
    training = replace(recipe.training, max_minutes=minutes, schedule=replace(schedule, decay=decay))
    train(replace(recipe, training=training), run, (run / LAST).exists(), progress)
