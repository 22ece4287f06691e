"""Recipes read, changed and kept: YAML files of all that ``unbabble.training.config`` describes."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from unbabble.base.config import dump_settings, parse_settings, read_yaml
from unbabble.base.output import write_whole
from unbabble.base.reading import from_yaml
from unbabble.errors import RecipeError, TrainingError
from unbabble.training.config import RECIPES, DataConfig, R, Recipe, SetConfig

RECIPE = "recipe.yaml"  # in the folder of a run


def read_recipe(path: Path, kind: str = "separation") -> Recipe:
    """Read a recipe file.

    Parameters
    ----------
    path
        A YAML file; its relative paths are taken from its own folder.
    kind
        What it is a recipe of where it has no ``kind``.

    Raises
    ------
    RecipeError
    """
    recipe = parse_recipe(read_yaml(path), str(path), kind)
    return replace(recipe, data=_placed(recipe.data, path.absolute().parent))


def parse_recipe(values: Any, source: str, kind: str = "separation") -> Recipe:
    """Check the plain values of a recipe; ``source`` names them in errors. Raises RecipeError."""
    given = values.get("kind", kind) if isinstance(values, dict) else kind
    if given not in RECIPES:
        raise RecipeError(f"{source}: there is no kind {given!r} of recipes; expected {' or '.join(RECIPES)}")
    return parse_settings(RECIPES[given], values, source)


def with_data(
    recipe: R,
    speech: Sequence[Path] | None = None,
    noise: Sequence[Path] | None = None,
    splits: Path | None = None,
) -> R:
    """The recipe with other folders and split file; what is None stays.

    With other speech or noise, what it says of its own data and of the model made from them is left out: it would be
    untrue.
    """
    given: dict[str, Any] = {
        "speech": None if speech is None else tuple(speech),
        "noise": None if noise is None else tuple(noise),
        "splits": splits,
    }
    if speech is not None or noise is not None:
        recipe = recipe.undescribed()
    data = replace(recipe.data, **{name: value for name, value in given.items() if value is not None})
    return replace(recipe, data=_placed(data, Path.cwd()))


def with_changes(recipe: R, changes: Sequence[str]) -> R:
    """The recipe with values set by ``key=value``, such as ``training.batch_size=8`` or ``mixtures.0.weight=2``.

    Values are YAML; relative paths are taken from the working folder. Raises RecipeError where a key is none that
    anything reads, or a value does not fit it.
    """
    values = dump_settings(recipe)
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(f"{change}: expected key=value, such as training.batch_size=8")
        *above, last = path.split(".")
        try:
            value = from_yaml(text)
        except ValueError as error:
            raise RecipeError(f"{path}: the value is no YAML: {error}") from None
        try:
            place = values
            for key in above:
                place = place[int(key)] if isinstance(place, list) else place[key]
            place[int(last) if isinstance(place, list) else last] = value
        except (KeyError, IndexError, TypeError, ValueError):
            raise RecipeError(f"{change}: {path} is not a key that anything reads") from None
    if not changes:
        return recipe
    changed = parse_settings(type(recipe), values, "with " + " ".join(changes))
    return replace(changed, data=_placed(changed.data, Path.cwd()))


def keep_recipe(recipe: Recipe, run: Path) -> None:
    """Write the recipe into the run. Raises OutputError."""
    write_whole(run / RECIPE, yaml.safe_dump(dump_settings(recipe), sort_keys=False).encode())


def recipe_of_run(run: Path, kind: str = "separation") -> Recipe:
    """The recipe that a run was started with; kind: of one that says none. Raises TrainingError, RecipeError."""
    path = run / RECIPE
    if not path.is_file():
        raise TrainingError(f"{run}: not a training run: it has no {RECIPE}")
    return parse_recipe(read_yaml(path), str(path), kind)


def _placed(data: DataConfig, base: Path) -> DataConfig:
    """Relative paths taken from ``base``."""

    def placed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(placed, value))
        if isinstance(value, SetConfig):
            return replace(value, folder=base / value.folder)
        return base / value if isinstance(value, Path) else value

    return replace(data, **{field.name: placed(getattr(data, field.name)) for field in fields(data)})
