"""Train a listener: counts of talkers in each frame, and voices that tell talkers apart, learned at once."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from unbabble.errors import TrainingError
from unbabble.evaluation.listening import Hearing
from unbabble.mixing.recipe import most_speakers
from unbabble.networks.listener import MOST_COUNTED, Listener
from unbabble.progress import Stage, unwatched_stage
from unbabble.training.checkpoint import read_checkpoint, write_checkpoint
from unbabble.training.config import CosineSchedule
from unbabble.training.data import Material
from unbabble.training.listener_config import ListenerRecipe
from unbabble.training.listener_data import ENDLESS, Lesson, Lessons, cut_pieces, endless_batches, n_voices, seconds_of
from unbabble.training.listener_export import Scores, export_listener
from unbabble.training.run import LAST, RECIPE, keep_recipe, prepare_run
from unbabble.training.task import cosine_factor


def train_listener(recipe: ListenerRecipe, run: Path, resume: bool = False, stage: Stage = unwatched_stage) -> Path:
    """Train for the minutes of the recipe and export; returns the listener's folder, ``run/listener``.

    run: its folder gets checkpoints and the recipe; resume: go on from its last checkpoint, for the minutes that are
    left; stage: told what goes on. Raises CorpusError, AudioError, TrainingError, ModelError, OutputError.
    """
    prepare_run(run, recipe, resume)
    console = Console()
    torch.manual_seed(recipe.seed)
    material, n_talkers = Material(recipe, run, stage), most_speakers(recipe.mixtures)
    lessons = Lessons(material.mixer("train"), ENDLESS, n_talkers)
    valid = Lessons(material.mixer("valid"), recipe.training.valid_size, n_talkers)
    training = ListenerTraining(recipe, lessons.speakers)
    for notice in (*material.notices, f"network of {training.network.n_parameters / 1e6:.2f} M parameters"):
        console.print(notice, highlight=False)
    valid_batches = list(DataLoader(valid, recipe.training.batch_size, num_workers=recipe.data.workers))
    if resume:
        training.restore(run / LAST)
    keep_recipe(recipe, run)
    batches = endless_batches(lessons, training.config.batch_size, recipe.data.workers, training.n_lessons)
    while training.progress() < 1:
        with stage("training"):
            _learn(training, batches, run)
        training.scores = validate(training.network, valid_batches)
        write_checkpoint(training.state(), run / LAST)
        console.print(_report(training), highlight=False)
    facts = {"minutes": round(training.minutes, 1), "steps": training.steps}
    return export_listener(training.network, recipe, training.scores, run / "listener", facts)
