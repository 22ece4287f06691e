"""Mixtures as tensors, by number: drawn, drawn but not yet in their rooms, or read from a set on disk."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from unbabble.corpora.decoded import Samples
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.render import Mixture
from unbabble.sets.read import MixtureSet
from unbabble.training.device_mixing import DryBatch, ResponseTable


class Batch(NamedTuple):
    """mixture (batch, samples), sources (batch, source, samples), overlap_ratio (batch,), NaN where it is not known.

    A dataset's item is the same without the first axis.
    """

    mixture: Tensor
    sources: Tensor
    overlap_ratio: Tensor


class DrawnDataset(Dataset[Batch]):
    """Mixture number i as tensors: mixture (samples,), sources (source, samples); silence where there is none."""

    def __init__(self, mixer: Mixer, size: int, n_sources: int) -> None:
        self.mixer, self.size, self.n_sources = mixer, size, n_sources

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Batch:
        made = self.mixer(index)
        sources = _with_rows(made.sources, self.n_sources)
        ratio = torch.tensor(made.plan.overlap_ratio)
        return Batch(torch.from_numpy(made.mixture), torch.from_numpy(sources), ratio)


class DryDataset(Dataset[DryBatch]):
    """Mixture number i before its room, for a DeviceMixer.

    One with a codec, which no device runs, comes made: its sources, and as noise all else that is in it, in no room.
    """

    def __init__(self, mixer: Mixer, table: ResponseTable, size: int, n_sources: int) -> None:
        self.mixer, self.table, self.size, self.n_sources = mixer, table, size, n_sources

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> DryBatch:
        plan = self.mixer.draw(index)
        if plan.codec is None:
            signals = self.mixer.render.dry(plan)
        else:
            signals, plan = _parts(self.mixer.render(plan)), replace(plan, room=None)
        talkers, noise = _with_rows(signals[:-1], self.n_sources), signals[-1:]
        heard_by, target_by = self.table.numbers(plan, self.n_sources)
        return torch.from_numpy(np.vstack([talkers, noise])), torch.tensor(heard_by), torch.tensor(target_by)


class SetDataset(Dataset[Batch]):
    """Excerpts of the mixtures of a set: number i is of mixture i modulo their number, begun where i says."""

    def __init__(self, mixtures: MixtureSet, size: int, n_sources: int, n_samples: int) -> None:
        self.mixtures, self.size, self.n_sources, self.n_samples = mixtures, size, n_sources, n_samples

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Batch:
        mixture, sources = self.mixtures[index % len(self.mixtures)]
        rng = np.random.default_rng(index)
        start = int(rng.integers(max(1, mixture.size - self.n_samples + 1)))
        rows = np.vstack([mixture, _with_rows(sources, self.n_sources)])[:, start : start + self.n_samples]
        rows = np.pad(rows, ((0, 0), (0, self.n_samples - rows.shape[1])))
        ratio = self.mixtures.items[index % len(self.mixtures)].overlap_ratio
        return Batch(
            torch.from_numpy(rows[0]),
            torch.from_numpy(rows[1:]),
            torch.tensor(math.nan if ratio is None else ratio),
        )


class FreshSampler(Sampler[int]):
    """Indices that never come again: epoch e has [e * size, (e + 1) * size), of which each process takes its part.

    rank, world: the number of this process and of all that train together.
    """

    def __init__(self, size: int, rank: int = 0, world: int = 1) -> None:
        self.size, self.rank, self.world, self.epoch = size, rank, world, 0
        self._skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer."""
        self.epoch = epoch

    def go_on_after(self, n_drawn: int) -> None:
        """Begin, once, where a run was stopped that had drawn so many in each process."""
        self.epoch, self._skipped = divmod(n_drawn, len(self))

    def __iter__(self) -> Iterator[int]:
        first, self._skipped = self._skipped, 0
        indices = range(
            self.epoch * self.size + self.rank, self.epoch * self.size + len(self) * self.world, self.world
        )
        return iter(indices[first:])

    def __len__(self) -> int:
        return self.size // self.world


def _parts(made: Mixture) -> Samples:
    """Sources and all else, in the last row, that add up to the mixture: (talkers + 1, samples)."""
    return np.vstack([made.sources, made.mixture - made.sources.sum(0)])


def _with_rows(sources: Samples, n_rows: int) -> Samples:
    """(talkers, samples) with silent rows added up to ``n_rows``."""
    return np.pad(sources, ((0, n_rows - len(sources)), (0, 0)))
