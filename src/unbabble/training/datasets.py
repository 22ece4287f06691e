"""Mixtures as tensors, by number, with what is to be found in them: drawn, or read from a set on disk."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unbabble.corpora.decoded import Samples
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.on_device import DryBatch, ResponseTable
from unbabble.mixing.render import Mixture
from unbabble.networks.config import MOST_COUNTED
from unbabble.sets.read import MixtureSet
from unbabble.tracking.activity import speech_frames

SPEEDS = (0.95, 1.05)  # below, between and above them a speaker counts as three identities


class SeparationBatch(NamedTuple):
    """mixture (batch, samples), sources (batch, source, samples), overlap_ratio (batch,), NaN where it is not known.

    A dataset's item is the same without the first axis.
    """

    mixture: Tensor
    sources: Tensor
    overlap_ratio: Tensor


@dataclass(frozen=True)
class NumberedDataset(Dataset[Any]):
    """So many items, each made by its number."""

    size: int

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True)
class DrawnDataset(NumberedDataset):
    """Mixture number i as tensors: mixture (samples,), sources (source, samples); silence where there is none."""

    mixer: Mixer
    n_sources: int

    def __getitem__(self, index: int) -> SeparationBatch:
        made = self.mixer(index)
        sources = _with_rows(made.sources, self.n_sources)
        ratio = torch.tensor(made.plan.overlap_ratio)
        return SeparationBatch(torch.from_numpy(made.mixture), torch.from_numpy(sources), ratio)


@dataclass(frozen=True)
class DryDataset(NumberedDataset):
    """Mixture number i before its room, for a DeviceMixer.

    One with a codec, which no device runs, comes made: its sources, and as noise all else that is in it, in no room.
    """

    mixer: Mixer
    table: ResponseTable
    n_sources: int

    def __getitem__(self, index: int) -> DryBatch:
        plan = self.mixer.draw(index)
        if plan.codec is None:
            signals = self.mixer.render.dry(plan)
        else:
            signals, plan = _parts(self.mixer.render(plan)), replace(plan, room=None)
        talkers, noise = _with_rows(signals[:-1], self.n_sources), signals[-1:]
        heard_by, target_by = self.table.numbers(plan, self.n_sources)
        dry = torch.from_numpy(np.vstack([talkers, noise]))
        return DryBatch(dry, torch.tensor(heard_by), torch.tensor(target_by))


@dataclass(frozen=True)
class SetDataset(NumberedDataset):
    """Excerpts of the mixtures of a set: number i is of mixture i modulo their number, begun where i says."""

    mixtures: MixtureSet
    n_sources: int
    n_samples: int

    def __getitem__(self, index: int) -> SeparationBatch:
        mixture, sources = self.mixtures[index % len(self.mixtures)]
        rng = np.random.default_rng(index)
        start = int(rng.integers(max(1, mixture.size - self.n_samples + 1)))
        rows = np.vstack([mixture, _with_rows(sources, self.n_sources)])[:, start : start + self.n_samples]
        rows = np.pad(rows, ((0, 0), (0, self.n_samples - rows.shape[1])))
        ratio = self.mixtures.items[index % len(self.mixtures)].overlap_ratio
        return SeparationBatch(
            torch.from_numpy(rows[0]),
            torch.from_numpy(rows[1:]),
            torch.tensor(math.nan if ratio is None else ratio),
        )


class DiarizationBatch(NamedTuple):
    """Mixtures to diarize, and what is to be found in them. A dataset's item is the same without the first axis.

    mixture (batch, samples); counts (batch, frames) of active speakers; alone (batch, talkers, frames): where only
    that one talks; identities (batch, talkers): who they are to the classifier of speakers.
    """

    mixture: Tensor
    counts: Tensor
    alone: Tensor
    identities: Tensor


@dataclass(frozen=True)
class DiarizationDataset(NumberedDataset):
    """Mixture number i with its active speakers, each with so many talkers; silent ones where there are fewer."""

    mixer: Mixer
    n_talkers: int

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.mixer.speech.names)}

    def __getitem__(self, index: int) -> DiarizationBatch:
        made = self.mixer(index)
        missing = [0] * (self.n_talkers - len(made.dry_sources))
        talking = speech_frames(_with_rows(made.dry_sources, self.n_talkers), made.plan.sample_rate)
        counts = talking.sum(0)
        return DiarizationBatch(
            torch.from_numpy(made.mixture),
            torch.from_numpy(counts).clamp(max=MOST_COUNTED),
            torch.from_numpy(talking & (counts == 1)),
            torch.tensor([self._identity(talker.speaker, talker.speed) for talker in made.plan.talkers] + missing),
        )

    def _identity(self, speaker: str, speed: float) -> int:
        return n_identities(self._numbers[speaker]) + int(np.searchsorted(SPEEDS, speed))


def n_identities(n_speakers: int) -> int:
    """How many identities so many speakers have."""
    return n_speakers * (len(SPEEDS) + 1)


def _parts(made: Mixture) -> Samples:
    """Sources and all else, in the last row, that add up to the mixture: (talkers + 1, samples)."""
    return np.vstack([made.sources, made.mixture - made.sources.sum(0)])


def _with_rows(sources: Samples, n_rows: int) -> Samples:
    """(talkers, samples) with silent rows added up to ``n_rows``."""
    return np.pad(sources, ((0, n_rows - len(sources)), (0, 0)))
