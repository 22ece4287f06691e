"""Train a listener: counts of talkers in each frame, and voices that tell talkers apart, learned at once."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from unbabble.base.progress import Stage, unwatched_stage
from unbabble.errors import TrainingError
from unbabble.evaluation.listening import Hearing
from unbabble.mixing.recipe import most_speakers
from unbabble.networks.listener import MOST_COUNTED, Listener
from unbabble.training.checkpoint import read_checkpoint, write_checkpoint
from unbabble.training.data import Material
from unbabble.training.listener_config import ListenerRecipe
from unbabble.training.listener_data import (
    ENDLESS,
    Lesson,
    Lessons,
    cut_pieces,
    endless_batches,
    n_voices,
    seconds_of,
)
from unbabble.training.listener_export import Scores, export_listener, read_weights_of_listener
from unbabble.training.run import LAST, keep_recipe, prepare_run
from unbabble.training.schedules import Moment


def train_listener(recipe: ListenerRecipe, run: Path, resume: bool = False, stage: Stage = unwatched_stage) -> Path:
    """Train for the minutes of the recipe and export; returns the listener's folder, ``run/listener``.

    run: its folder gets checkpoints and the recipe; resume: go on from its last checkpoint, for the minutes that are
    left; stage: told what goes on. Raises CorpusError, AudioError, TrainingError, ModelError, OutputError.
    """
    prepare_run(run, recipe, resume)
    console, config = Console(), recipe.training
    torch.manual_seed(recipe.seed)
    material, n_talkers = Material(recipe, run, stage), most_speakers(recipe.mixtures)
    lessons = Lessons(material.mixer("train"), ENDLESS, n_talkers)
    valid = Lessons(material.mixer("valid"), config.valid_size, n_talkers)
    valid_batches = list(DataLoader(valid, config.batch_size, num_workers=recipe.data.workers))
    training = ListenerTraining(recipe, lessons.speakers)
    if resume:
        training.restore(run / LAST)
    elif config.start is not None:
        training.network.load_state_dict(read_weights_of_listener(config.start, recipe.network))
    for notice in (*material.notices, f"network of {training.network.n_parameters / 1e6:.2f} M parameters"):
        console.print(notice, highlight=False)
    keep_recipe(recipe, run)
    batches = endless_batches(lessons, config.batch_size, recipe.data.workers, training.steps * config.batch_size)
    while training.minutes < config.minutes:
        _learn(training, batches, run, stage)
        training.scores = validate(training.network, valid_batches)
        write_checkpoint(training.state(), run / LAST)
        console.print(_report(training), highlight=False, soft_wrap=True)
    facts = {"minutes": round(training.minutes, 1), "steps": training.steps}
    return export_listener(training.network, recipe, training.scores, run / "listener", facts)


def _learn(training: "ListenerTraining", batches: Iterator[Lesson], run: Path, stage: Stage) -> None:
    """Until the next checkpoint is due, or the end."""
    config = training.config
    until = min(config.minutes, training.minutes + config.checkpoint_minutes)
    with stage("listening") as progress:
        while training.minutes < until:
            if not training.step(next(batches)):
                kept = f"; the last good checkpoint is {run / LAST}" if (run / LAST).exists() else ""
                raise TrainingError(f"the loss is no number any more; try a lower training.learning_rate{kept}")
            progress(training.minutes, config.minutes)


def _report(training: "ListenerTraining") -> str:
    """One line, so that a log file shows how the run goes, and how long it may still take."""
    shown = {name: "-" if score is None else f"{score:.3f}" for name, score in training.scores.items()}
    recall = ", ".join(shown[f"recall_{count}"] for count in range(MOST_COUNTED + 1))
    left = max(0.0, training.config.minutes - training.minutes)
    return (
        f"step {training.steps}: loss {training.loss:.2f}, recall of 0, 1, {MOST_COUNTED} talkers {recall}, "
        f"equal error of voices {shown['equal_error']}, {training.minutes:.1f} min, {left:.0f} min left"
    )


@torch.inference_mode()
def validate(network: Listener, batches: Iterable[Lesson]) -> Scores:
    """Recall and precision of counts of talkers in frames; equal error rate of one-second pieces of the talkers of a
    mixture, each what one of them says alone."""
    hearing = Hearing(MOST_COUNTED + 1)
    network.eval()
    for batch in batches:
        counts, heard = network(batch.mixture)
        found = counts[:, : batch.counts.shape[1]].argmax(-1)
        hearing.add_counts(batch.counts.numpy(), found.numpy())
        for voices, alone in zip(heard, batch.alone, strict=True):
            seconds = [functional.normalize(seconds_of(voices, row)) for row in alone]
            hearing.add_voices([pieces.numpy() for pieces in seconds])
    network.train()
    return hearing.scores()


class ListenerTraining:
    """A listener that learns, and how far it is. speakers: names of those whose voices it learns to tell apart."""

    def __init__(self, recipe: ListenerRecipe, speakers: Sequence[str]) -> None:
        self.config, self.seed, self.speakers = recipe.training, recipe.seed, list(speakers)
        self.network = Listener(recipe.network)
        self.voices = Voices(recipe.network.voice, n_voices(len(speakers)), self.config.scale, self.config.margin)
        self._parameters = [*self.network.parameters(), *self.voices.parameters()]
        self._optimizer = torch.optim.AdamW(
            self._parameters, self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        self.steps, self.loss, self.scores = 0, math.nan, Scores()
        self._began = time.monotonic()

    @property
    def minutes(self) -> float:
        """Trained so far, earlier parts of a resumed run counted in."""
        return (time.monotonic() - self._began) / 60

    def step(self, batch: Lesson) -> bool:
        """Learn from a batch; False, and nothing learned, where the gradient is no number."""
        factor = self.config.schedule.factor_at(Moment(min(1.0, self.minutes / self.config.minutes)))
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor
        self._optimizer.zero_grad()
        loss = self._loss(batch)
        torch.autograd.backward(loss)
        if not nn.utils.clip_grad_norm_(self._parameters, self.config.gradient_clip).isfinite():
            return False
        self._optimizer.step()
        self.steps, self.loss = self.steps + 1, loss.item()
        return True

    def _loss(self, batch: Lesson) -> Tensor:
        counts, heard = self.network(batch.mixture)
        counted = counts[:, : batch.counts.shape[1]].transpose(1, 2)
        loss = functional.nll_loss(counted, batch.counts)
        pieces, whose = cut_pieces(heard, batch, np.random.default_rng([self.seed, self.steps]))
        return loss + self.config.voice_weight * self.voices(pieces, whose) if len(pieces) else loss

    def state(self) -> dict[str, Any]:
        """All that ``restore`` needs to go on."""
        return {
            "network": self.network.state_dict(),
            "voices": self.voices.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "speakers": self.speakers,
            "steps": self.steps,
            "minutes": self.minutes,
            "scores": self.scores,
        }

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint. Raises TrainingError where it is none, or of other speakers."""
        checkpoint = read_checkpoint(path)
        if checkpoint["speakers"] != self.speakers:
            raise TrainingError(f"{path.parent}: was started with other speakers; give them, or another --out")
        self.network.load_state_dict(checkpoint["network"])
        self.voices.load_state_dict(checkpoint["voices"])
        self._optimizer.load_state_dict(checkpoint["optimizer"])
        self.steps, self.scores = checkpoint["steps"], checkpoint["scores"]
        self._began = time.monotonic() - 60 * checkpoint["minutes"]


class Voices(nn.Module):
    """Pieces of voices (pieces, voice) and whose they are (pieces,) -> loss: softmax over cosines with a margin."""

    def __init__(self, size: int, n_voices: int, scale: float, margin: float) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.directions = nn.Parameter(torch.randn(n_voices, size) / math.sqrt(size))

    def forward(self, pieces: Tensor, whose: Tensor) -> Tensor:
        cosines = functional.normalize(pieces) @ functional.normalize(self.directions).T
        margins = self.margin * functional.one_hot(whose, len(self.directions))
        return functional.cross_entropy(self.scale * (cosines - margins), whose)
