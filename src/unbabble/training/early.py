"""What of a run can be refused before PyTorch is loaded, which takes seconds: missing files, folders and models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unbabble.base.config import read_yaml
from unbabble.corpora.scan import check_sources
from unbabble.errors import TrainingError
from unbabble.inference.model_folder import find_folder

RECIPE = "recipe.yaml"  # in the folder of a run


def recipe_values(run: Path) -> Any:
    """The plain values of the recipe that a run was started with. Raises TrainingError, RecipeError."""
    path = run / RECIPE
    if not path.is_file():
        raise TrainingError(f"{run}: not a training run: it has no {RECIPE}")
    return read_yaml(path)


def check_early(recipe: Path, speech: Sequence[Path] | None = None, changes: Sequence[str] = ()) -> None:
    """See that a recipe's speech and model are there, as far as the file alone can tell.

    Parameters
    ----------
    recipe
        The file. Whether its keys are right is told by ``read_recipe``, which knows them all.
    speech
        Corpus folders or manifests instead of the recipe's.
    changes
        What is changed in the recipe, as ``training.batch_size=8``: of sections that are changed, only a
        ``training.start`` that is given is looked at.

    Raises
    ------
    RecipeError, CorpusError, ModelError
    """
    values = read_yaml(recipe)
    data, training = (_section(values, name, changes) for name in ("data", "training"))
    listed = data.get("speech", [])
    if speech is None and not data.get("train_set") and _are_names(listed):
        speech = [recipe.absolute().parent / path for path in listed]
    if speech is not None and "data" not in _changed(changes):
        check_sources(speech)
    given = dict(change.partition("=")[::2] for change in changes)
    start = given.get("training.start", training.get("start"))
    if isinstance(start, str) and start not in ("null", "~", ""):
        find_folder(start)


def _section(values: Any, name: str, changes: Sequence[str]) -> dict[str, Any]:
    section = values.get(name) if isinstance(values, dict) and name not in _changed(changes) else None
    return section if isinstance(section, dict) else {}


def _changed(changes: Sequence[str]) -> set[str]:
    return {change.partition("=")[0].partition(".")[0] for change in changes}


def _are_names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
