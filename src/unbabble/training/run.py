"""The folder of a training run: what it was started with, and where it goes on."""

from pathlib import Path

import yaml

from unbabble.base.config import dump_settings, read_settings
from unbabble.base.output import write_whole, writing
from unbabble.errors import TrainingError
from unbabble.training.config import AnyRecipe, R

RECIPE = "recipe.yaml"
START, BEST, LAST = "start.safetensors", "best.safetensors", "last.safetensors"


def prepare_run(run: Path, recipe: AnyRecipe, resume: bool) -> None:
    """Make the run's folder and see that what is asked can be done, before any work is done.

    Raises TrainingError, OutputError.
    """
    started = (run / LAST).exists()
    if started and not resume:
        raise TrainingError(f"{run}: holds a run already; go on with --resume, or choose another --out")
    if resume:
        if not started:
            raise TrainingError(f"{run}: has no {LAST} to resume from; start the run without --resume")
        before = recipe_of_run(type(recipe), run)
        if before.network != recipe.network:
            raise TrainingError(f"{run}: was started with another network; give its {RECIPE}, or another --out")
        if before.training.start != recipe.training.start:
            raise TrainingError(f"{run}: training.start is for new runs; this one goes on with its own weights")
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)


def keep_recipe(recipe: AnyRecipe, run: Path) -> None:
    """Write the recipe into the run. Raises OutputError."""
    write_whole(run / RECIPE, yaml.safe_dump(dump_settings(recipe), sort_keys=False).encode())


def recipe_of_run(kind: type[R], run: Path) -> R:
    """The recipe that a run was started with. Raises TrainingError, RecipeError."""
    path = run / RECIPE
    if not path.is_file():
        raise TrainingError(f"{run}: not a training run: it has no {RECIPE}")
    return read_settings(kind, path)
