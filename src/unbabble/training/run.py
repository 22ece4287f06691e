"""A training run as it begins: its folder and its processes, and what is refused before PyTorch is loaded."""

import os
from dataclasses import dataclass
from pathlib import Path

from unbabble.base.output import check_origin, writing
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.corpora.scan import check_sources
from unbabble.errors import TrainingError
from unbabble.inference.model_folder import find_folder
from unbabble.training.config import Recipe
from unbabble.training.recipe import recipe_of_run

START, BEST, LAST = "start.safetensors", "best.safetensors", "last.safetensors"


def train(recipe: Recipe, run: Path, resume: bool = False, progress: Progress = UNWATCHED) -> Path | None:
    """Train by a recipe and export the best weights.

    Under torchrun, all processes train one network, each on its part of every batch.

    Parameters
    ----------
    recipe
        Of a separator or a diarizer.
    run
        Folder that gets checkpoints, logs and the recipe.
    resume
        Go on from the run's last checkpoint.
    progress
        Told what goes on before.

    Returns
    -------
    Path or None
        The model folder, ``run/model``; None in all processes but the first.

    Raises
    ------
    CorpusError, AudioError, TrainingError, ModelError, OutputError
    """
    processes = Processes.of_environment()
    processes.share_of(recipe.training.batch_size)
    if recipe.data.train_set is None:
        check_sources(recipe.data.speech)
    if recipe.training.start is not None and not resume:
        find_folder(recipe.training.start)
    if processes.first:
        _prepare(run, recipe, resume)

    from unbabble.training.fit import fit

    return fit(recipe, run, resume, processes, progress)


def _prepare(run: Path, recipe: Recipe, resume: bool) -> None:
    """Make the run's folder and see that it can be begun, or gone on with."""
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


@dataclass(frozen=True)
class Processes:
    """This one's number, the number of all, and of those on this machine; alone without torchrun."""

    rank: int = 0
    world: int = 1
    here: int = 1

    @classmethod
    def of_environment(cls) -> "Processes":
        """As torchrun tells each process."""
        named = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_WORLD_SIZE", 1))
        return cls(*(int(os.environ.get(name, alone)) for name, alone in named))

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    def share_of(self, batch_size: int) -> int:
        """Mixtures of a batch that each takes. Raises TrainingError where they cannot be shared evenly."""
        if batch_size % self.world:
            raise TrainingError(
                f"batch_size {batch_size} cannot be shared by {self.world} processes; "
                "choose a multiple of their number"
            )
        return batch_size // self.world


ALONE = Processes()
