"""Diarization as a task: counts of active speakers in each frame, and embeddings that tell speakers apart."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unbabble.errors import TrainingError
from unbabble.evaluation.diarization import DiarizationScores
from unbabble.networks.config import MOST_COUNTED
from unbabble.networks.diarizer import Diarizer
from unbabble.tracking.activity import FRAME_S
from unbabble.training.config import DiarizationTraining
from unbabble.training.datasets import DiarizationBatch, n_identities
from unbabble.training.task import LOSS, Task

PIECES = 2  # of each talker in a mixture
PIECE_S = 0.6, 2.0  # of speech that is to be told apart
SECOND = round(1 / FRAME_S)


class DiarizationTask(Task):
    """What a diarizer learns. speakers: names of those whose embeddings it learns to tell apart.

    The validation loss is the cross-entropy of the counts plus the equal error rate of embeddings, since the speakers
    of the validation mixtures are others.
    """

    network: Diarizer
    config: DiarizationTraining

    def __init__(self, network: Diarizer, config: DiarizationTraining, speakers: Sequence[str]) -> None:
        super().__init__(network, config)
        self.speakers = list(speakers)
        self.classifier = SpeakerClassifier(
            network.config.embedding, n_identities(len(speakers)), config.loss.scale, config.loss.margin
        )
        self._found, self._count_losses = DiarizationScores(MOST_COUNTED + 1), [0.0] * 0

    def learned(self) -> nn.Module:
        return nn.ModuleList([self.network, self.classifier])

    def loss(self, batch: DiarizationBatch) -> Tensor:
        counts, embeddings = self.network(batch.mixture)
        pieces, whose = cut_pieces(embeddings.float(), batch)
        loss: Tensor = _count_loss(counts, batch) + self.config.loss.weight * self.classifier(pieces, whose)
        return loss

    def validation_step(self, batch: DiarizationBatch, _: int) -> None:
        counts, embeddings = self.network(batch.mixture)
        found = counts[:, : batch.counts.shape[1]].argmax(-1)
        self._count_losses.append(_count_loss(counts, batch).item())
        self._found.add_counts(batch.counts.cpu().numpy(), found.cpu().numpy())
        for frames, alone in zip(embeddings.float(), batch.alone, strict=True):
            seconds = [functional.normalize(seconds_of(frames, row)) for row in alone]
            self._found.add_embeddings([pieces.cpu().numpy() for pieces in seconds])

    def on_validation_epoch_end(self) -> None:
        self.scores = self._found.scores()
        loss = sum(self._count_losses) / len(self._count_losses) + (self.scores["equal_error"] or 0.0)
        self._found, self._count_losses = DiarizationScores(MOST_COUNTED + 1), []
        self.log(LOSS, loss, prog_bar=True)
        for name, score in self.scores.items():
            self.log(f"valid/{name}", math.nan if score is None else score)

    def summary(self, measured: dict[str, Any]) -> str:
        recalls = ", ".join(f"{measured[f'valid/recall_{count}']:.3f}" for count in range(MOST_COUNTED + 1))
        return (
            f"validation loss {measured[LOSS]:.2f}, recall of 0, 1, {MOST_COUNTED} talkers {recalls}, "
            f"equal error of embeddings {measured['valid/equal_error']:.3f}"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["speakers"] = self.speakers

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises TrainingError where it is of other speakers."""
        if checkpoint["speakers"] != self.speakers:
            raise TrainingError("the run was started with other speakers; give them, or another --out")
        super().on_load_checkpoint(checkpoint)


class SpeakerClassifier(nn.Module):
    """Softmax over cosines with a margin (arXiv 1801.05599, section 3).

    Embeddings (pieces, embedding) and whose they are (pieces,) -> their mean cross-entropy; 0 of none.
    """

    def __init__(self, size: int, n_speakers: int, scale: float, margin: float) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.directions = nn.Parameter(torch.randn(n_speakers, size) / math.sqrt(size))

    def forward(self, embeddings: Tensor, whose: Tensor) -> Tensor:
        cosines = functional.normalize(embeddings) @ functional.normalize(self.directions).T
        margins = self.margin * functional.one_hot(whose, len(self.directions))
        losses = functional.cross_entropy(self.scale * (cosines - margins), whose, reduction="sum")
        return losses / max(1, len(whose))


def cut_pieces(embeddings: Tensor, batch: DiarizationBatch) -> tuple[Tensor, Tensor]:
    """Means over pieces, drawn at random, of what each talker says alone.

    embeddings (batch, frames, embedding) -> (pieces, embedding), and whose they are: (pieces,).
    """
    shortest, longest = (round(length / FRAME_S) for length in PIECE_S)
    pieces, whose = [embeddings.new_zeros(0, embeddings.shape[-1])], [batch.identities.new_zeros(0)]
    for spoken, name in _monologues(embeddings, batch):
        for _ in range(PIECES if len(spoken) >= shortest else 0):
            length = min(int(torch.randint(shortest, longest + 1, ())), len(spoken))
            start = int(torch.randint(len(spoken) - length + 1, ()))
            pieces.append(spoken[start : start + length].mean(0, keepdim=True))
            whose.append(name[None])
    return torch.cat(pieces), torch.cat(whose)


def seconds_of(embeddings: Tensor, alone: Tensor) -> Tensor:
    """Means over every second that one talker says alone: (frames, embedding), (frames,) -> (seconds, embedding)."""
    spoken = embeddings[: len(alone)][alone]
    n_seconds = len(spoken) // SECOND
    return spoken[: n_seconds * SECOND].reshape(n_seconds, SECOND, spoken.shape[1]).mean(1)


def _count_loss(counts: Tensor, batch: DiarizationBatch) -> Tensor:
    return functional.nll_loss(counts.float()[:, : batch.counts.shape[1]].transpose(1, 2), batch.counts)


def _monologues(embeddings: Tensor, batch: DiarizationBatch) -> Iterator[tuple[Tensor, Tensor]]:
    """What each talker of each mixture says alone (frames, embedding), and whose identity it has."""
    for frames, alone, names in zip(embeddings, batch.alone, batch.identities, strict=True):
        for row, name in zip(alone, names, strict=True):
            yield frames[: len(row)][row], name
