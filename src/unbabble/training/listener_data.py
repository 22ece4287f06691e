"""What a listener learns from: mixtures, who talks in each frame of them, and pieces of their voices."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unbabble.mixing.mixer import Mixer
from unbabble.networks.listener import MOST_COUNTED
from unbabble.tracking.activity import FRAME_S, speech_frames

SPEEDS = (0.95, 1.05)  # below, between and above them a speaker counts as three different voices
PIECES = 2  # of each talker in a mixture
PIECE_S = 0.6, 2.0  # of a voice that is to be known
SECOND = round(1 / FRAME_S)
ENDLESS = 1 << 40  # mixtures


class Lesson(NamedTuple):
    """What is heard and what is to be heard in it; a batch has a first axis more.

    mixture (samples,); counts (frames,) of talkers; alone (talkers, frames): where only that one talks; voices
    (talkers,): whose they are.
    """

    mixture: Tensor
    counts: Tensor
    alone: Tensor
    voices: Tensor


class Lessons(Dataset[Lesson]):
    """Lesson number i of as many as wanted, each with so many talkers; silent ones where there are fewer."""

    def __init__(self, mixer: Mixer, size: int, n_talkers: int) -> None:
        self.mixer, self.size, self.n_talkers = mixer, size, n_talkers
        self.speakers = tuple(mixer.speech.names)
        self._numbers = {name: number for number, name in enumerate(self.speakers)}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Lesson:
        made = self.mixer(index)
        missing = self.n_talkers - len(made.dry_sources)
        talking = speech_frames(np.pad(made.dry_sources, ((0, missing), (0, 0))), made.plan.sample_rate)
        counts = talking.sum(0)
        return Lesson(
            torch.from_numpy(made.mixture),
            torch.from_numpy(counts).clamp(max=MOST_COUNTED),
            torch.from_numpy(talking & (counts == 1)),
            torch.tensor([self._voice(talker.speaker, talker.speed) for talker in made.plan.talkers] + [0] * missing),
        )

    def _voice(self, speaker: str, speed: float) -> int:
        return n_voices(self._numbers[speaker]) + int(np.searchsorted(SPEEDS, speed))


def n_voices(n_speakers: int) -> int:
    """How many voices so many speakers have."""
    return n_speakers * (len(SPEEDS) + 1)


def endless_batches(lessons: Lessons, size: int, n_workers: int, first: int = 0) -> Iterator[Lesson]:
    """Batches from lesson ``first`` on, none of which comes again. n_workers: processes that mix them."""
    return iter(DataLoader(lessons, size, sampler=range(first, ENDLESS), num_workers=n_workers))


def cut_pieces(heard: Tensor, batch: Lesson, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Means over pieces, drawn at random, of what each talker says alone: (pieces, voice), and whose: (pieces,).

    heard (batch, frames, voice): what the listener makes of the batch.
    """
    shortest, longest = (round(length / FRAME_S) for length in PIECE_S)
    pieces, whose = [heard.new_zeros(0, heard.shape[-1])], [batch.voices.new_zeros(0)]
    for spoken, name in _monologues(heard, batch):
        for _ in range(PIECES if len(spoken) >= shortest else 0):
            length = min(int(rng.integers(shortest, longest, endpoint=True)), len(spoken))
            start = int(rng.integers(len(spoken) - length, endpoint=True))
            pieces.append(spoken[start : start + length].mean(0, keepdim=True))
            whose.append(name[None])
    return torch.cat(pieces), torch.cat(whose)


def seconds_of(voices: Tensor, alone: Tensor) -> Tensor:
    """Means over every second that one talker says alone: (frames, voice) and (frames,) -> (seconds, voice)."""
    spoken = voices[: len(alone)][alone]
    n_seconds = len(spoken) // SECOND
    return spoken[: n_seconds * SECOND].reshape(n_seconds, SECOND, spoken.shape[1]).mean(1)


def _monologues(heard: Tensor, batch: Lesson) -> Iterator[tuple[Tensor, Tensor]]:
    """What each talker of each mixture says alone (frames, voice), and whose voice it is."""
    for voices, alone, names in zip(heard, batch.alone, batch.voices, strict=True):
        for row, name in zip(alone, names, strict=True):
            yield voices[: len(row)][row], name
