"""Checkpoints of a run, from which it goes on.

They are safetensors: tensors as they are, all else as JSON in the header. Nothing is pickled.
"""

import json
import os
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from unbabble.base.output import write_whole
from unbabble.base.reading import from_json
from unbabble.errors import TrainingError
from unbabble.training.run import LAST
from unbabble.training.task import Task

TREE = "tree"  # key of the JSON in the safetensors header


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


class LastCheckpoint(ModelCheckpoint):
    """Where to resume from: written after each epoch, and within it as often as asked for.

    By the task's clock: all processes have to save at the same step, since they wait for each other there.
    """

    def __init__(self, run: Path, minutes: float) -> None:
        super().__init__(run, Path(LAST).stem, save_top_k=1, enable_version_counter=False)
        self.minutes = minutes
        self._saved_at = 0.0  # minutes of the task

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        assert isinstance(pl_module, Task)
        self._saved_at = pl_module.minutes

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        assert isinstance(pl_module, Task)
        if pl_module.minutes - self._saved_at >= self.minutes:
            self._saved_at = pl_module.minutes
            trainer.save_checkpoint(Path(str(self.dirpath)) / LAST)


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
