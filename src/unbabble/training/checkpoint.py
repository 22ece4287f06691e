"""The folder of a training run: the recipe that it was started with, and checkpoints from which it goes on.

Checkpoints are safetensors: tensors as they are, all else as JSON in the header. Nothing is pickled.
"""

import json
import os
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from unbabble.base.config import dump_settings
from unbabble.base.output import check_origin, write_whole, writing
from unbabble.base.reading import from_json
from unbabble.errors import TrainingError
from unbabble.training.config import Recipe, parse_recipe
from unbabble.training.early import RECIPE, recipe_values

START, BEST, LAST = "start.safetensors", "best.safetensors", "last.safetensors"
TREE = "tree"  # key of the JSON in the safetensors header


def prepare_run(run: Path, recipe: Recipe, resume: bool) -> None:
    """Make the run's folder and see that what is asked can be done, before any work is done.

    Raises TrainingError, OutputError.
    """
    started = (run / LAST).exists()
    if started and not resume:
        raise TrainingError(f"{run}: holds a run already; go on with --resume, or choose another --out")
    if resume:
        if not started:
            raise TrainingError(f"{run}: has no {LAST} to resume from; start the run without --resume")
        before = recipe_of_run(run, recipe.kind)
        stated, wanted = (
            {"kind": one.kind, "network": one.network, "training.start": one.training.start}
            for one in (before, recipe)
        )
        check_origin(run, stated, wanted, "a run", TrainingError)
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)


def keep_recipe(recipe: Recipe, run: Path) -> None:
    """Write the recipe into the run. Raises OutputError."""
    write_whole(run / RECIPE, yaml.safe_dump(dump_settings(recipe), sort_keys=False).encode())


def recipe_of_run(run: Path, kind: str = "separation") -> Recipe:
    """The recipe that a run was started with; kind: of one that says none. Raises TrainingError, RecipeError."""
    return parse_recipe(recipe_values(run), str(run / RECIPE), kind)


class SafetensorsIO(CheckpointIO):
    """Lightning's checkpoint dictionaries in safetensors files, each written whole or not at all."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a tree of dicts, lists, plain values and tensors. Raises TypeError for anything else."""
    tensors: dict[str, Tensor] = {}
    tree = _flatten(checkpoint, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(tensors, metadata={TREE: json.dumps(tree)}))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The tree that ``write_checkpoint`` was given. Raises TrainingError where the file is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            tree = from_json((file.metadata() or {})[TREE])
            restored = _restore(tree, file)
    except FileNotFoundError:
        raise TrainingError(f"{path}: no such checkpoint") from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path}: not a checkpoint of unbabble, or damaged ({error})") from None
    assert isinstance(restored, dict)
    return restored


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for a value; its tensors go to ``tensors``. A container is [its kind, its content]."""
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()
        return ["tensor", key]
    if isinstance(value, dict):
        return ["dict", [[_flatten(key, tensors), _flatten(item, tensors)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_flatten(item, tensors) for item in value]]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return str(value)
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}: {value!r}")


def _restore(tree: Any, file: Any) -> Any:
    if not isinstance(tree, list):
        return tree
    kind, content = tree
    if kind == "tensor":
        return file.get_tensor(content)
    if kind == "dict":
        return {_restore(key, file): _restore(item, file) for key, item in content}
    items = [_restore(item, file) for item in content]
    return tuple(items) if kind == "tuple" else items


def read_weights(checkpoint: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    """The network's part of a Lightning checkpoint's state."""
    state = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
