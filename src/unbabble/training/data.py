"""What a run trains on: corpora, rooms and mixtures of a recipe, as loaders of batches."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import DataLoader, Dataset, Sampler

from unbabble.base.config import dump_settings
from unbabble.base.output import prepare
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.corpora.corpus import Corpora
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import CorpusError
from unbabble.mixing.bank import RoomBank, Rooms, kept_bank, make_bank, rooms_of_bank
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.on_device import DeviceMixer, DryBatch, ResponseTable
from unbabble.mixing.recipe import RoomRecipe, most_speakers
from unbabble.sets.read import read_set
from unbabble.training.config import DataConfig, Recipe, SetConfig
from unbabble.training.datasets import (
    DiarizationDataset,
    DrawnDataset,
    DryDataset,
    SeparationBatch,
    SetDataset,
)
from unbabble.training.run import ALONE, Processes

SEEDS = {"train": 0, "valid": 1, "rooms": 2}  # added to the recipe's seed, times three

Split = Literal["train", "valid"]


class DataModule(lightning.LightningDataModule):
    """Training mixtures that never come again, and validation mixtures that always do.

    Parameters
    ----------
    recipe
        Of any kind of training.
    run
        Folder for what the scan remembers, for decoded audio and for rooms: a resumed run finds them there.
    processes
        All that train together, each on its part of every batch. The first that comes here decodes and makes rooms,
        while the others wait.
    progress
        Told what goes on.

    Attributes
    ----------
    drawn : int
        Mixtures trained on so far, in all processes: the number of the next one.
    notices : tuple of str
        What a user should know.

    Raises
    ------
    CorpusError, AudioError, TrainingError
    """

    def __init__(
        self, recipe: Recipe, run: Path, processes: Processes = ALONE, progress: Progress = UNWATCHED
    ) -> None:
        super().__init__()
        self.recipe, self.run, self.processes, self.progress = recipe, run, processes, progress
        self.sample_rate = recipe.mixtures[0].recipe.sample_rate
        self.notices: tuple[str, ...] = ()
        self.drawn = 0
        lock = run / "prepare.lock"
        prepare(lock)
        with FileLock(lock):
            self.train, self.valid = (DATASETS[recipe.kind](self, split) for split in ("train", "valid"))

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.train, FreshSampler(self))

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.valid)

    def _loader(self, dataset: Dataset[Any], sampler: "FreshSampler | None" = None) -> DataLoader[Any]:
        workers = self.recipe.data.workers
        return DataLoader(
            dataset,
            self.processes.share_of(self.recipe.training.batch_size),
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else each begin of a loader takes one of the run's random numbers
        )

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self.trainer is not None and self.trainer.training:
            self.drawn += min(self.recipe.training.batch_size, self.epoch_size)
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Mix on the device what comes dry."""
        if not isinstance(batch, DryBatch):
            return batch
        with torch.no_grad():
            mixture, sources = self._device_mixer.to(batch.dry.device)(batch)
        return SeparationBatch(mixture, sources, mixture.new_full((len(mixture),), np.nan))

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.drawn = state_dict["drawn"]

    @property
    def epoch_size(self) -> int:
        """Mixtures of an epoch: whole batches where it has several, and as many for each process."""
        size, batch_size = self.recipe.training.epoch_size, self.recipe.training.batch_size
        return size - size % (batch_size if size > batch_size else self.processes.world)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of those to train on."""
        return tuple(self.corpora["train"].speech.names)

    def mixer(self, split: Split) -> Mixer:
        """Mixtures of one split; those to validate on are of all parts from the first on."""
        corpora, mixtures, seed = self.corpora[split], self.recipe.mixtures, 3 * self.recipe.seed + SEEDS[split]
        if split == "valid":
            mixtures = tuple(replace(part, first=0) for part in mixtures)
        return Mixer(corpora.speech, corpora.noise, mixtures, self.audio, seed, self.rooms)

    @cached_property
    def corpora(self) -> dict[str, Corpora]:
        """Those of the train and of the valid split, decoded."""
        config = self.recipe.data
        everything = scan_corpora(config.speech, config.noise, self.run / "scan", self.progress)
        splits = dict(zip(("train", "valid"), split_corpora(everything, config, self.recipe.seed), strict=True))
        speech = splits["train"].speech
        for corpora in splits.values():
            for corpus in (corpora.speech, *([corpora.noise] if corpora.noise else [])):
                self.audio.load(corpus, progress=self.progress)
        self.notices = (
            *(f"left out: {line}" for line in (*everything.unreadable, *map(str, self.audio.unreadable.values()))),
            f"{speech.hours:.2f} h of {len(speech.names)} speakers to train on",
        )
        return splits

    @cached_property
    def audio(self) -> DecodedAudio:
        return DecodedAudio(self.sample_rate, self.recipe.data.cache or self.run / "decoded")

    @cached_property
    def rooms(self) -> Rooms:
        """A bank for every recipe of rooms that the mixtures have."""
        config, mixtures = self.recipe.data, self.recipe.mixtures
        if config.bank is not None:
            return rooms_of_bank(mixtures, config.bank)
        recipes = {part.recipe.room for part in mixtures if part.recipe.room is not None}
        return Rooms(self.sample_rate, {room: self._bank(room) for room in recipes})

    def _bank(self, room: RoomRecipe) -> RoomBank:
        """The one in the run, which is made where it is not there yet."""
        count, n_positions = self.recipe.data.rooms, most_speakers(self.recipe.mixtures) + 1
        seed = 3 * self.recipe.seed + SEEDS["rooms"]
        known = json.dumps([dump_settings(room), count, n_positions, self.sample_rate, seed])
        path = self.run / "rooms" / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.npz"
        jobs = os.cpu_count() or 1
        make = partial(make_bank, room, count, n_positions, self.sample_rate, seed, jobs, self.progress)
        return kept_bank(path, make)

    @cached_property
    def responses(self) -> ResponseTable:
        """Of all rooms, for mixing on the device."""
        return ResponseTable(self.rooms, tuple(part.recipe.target for part in self.recipe.mixtures))

    @cached_property
    def _device_mixer(self) -> DeviceMixer:
        return DeviceMixer(self.responses)


class FreshSampler(Sampler[int]):
    """Numbers of mixtures that never come again: one epoch after the other, of which each process takes its part."""

    def __init__(self, data: DataModule) -> None:
        self.data = data

    def __iter__(self) -> Iterator[int]:
        """From the next mixture on. A trainer that goes on within an epoch takes no more than are left of it."""
        first, processes = self.data.drawn, self.data.processes
        return iter(range(first + processes.rank, first + self.data.epoch_size, processes.world))

    def __len__(self) -> int:
        return self.data.epoch_size // self.data.processes.world


def separation_data(data: DataModule, split: Split) -> Dataset[Any]:
    """Mixtures with their sources: drawn, drawn but mixed on the device, or of a set on disk."""
    recipe, config = data.recipe, data.recipe.data
    training, n_sources = split == "train", recipe.network.n_sources
    size = recipe.training.epoch_size if training else recipe.training.valid_size
    on_disk = config.train_set if training else config.valid_set
    if on_disk is not None:
        return _of_set(recipe, on_disk, size)
    if training and config.mix_on_device:
        return DryDataset(size, data.mixer(split), data.responses, n_sources)
    return DrawnDataset(size, data.mixer(split), n_sources)


def diarization_data(data: DataModule, split: Split) -> Dataset[Any]:
    """Mixtures with their active speakers."""
    sizes, n_talkers = data.recipe.training, most_speakers(data.recipe.mixtures)
    size = sizes.epoch_size if split == "train" else sizes.valid_size
    return DiarizationDataset(size, data.mixer(split), n_talkers)


DATASETS: dict[str, Callable[[DataModule, Any], Dataset[Any]]] = {
    "separation": separation_data,
    "diarization": diarization_data,
}


def _of_set(recipe: Recipe, config: SetConfig, size: int) -> SetDataset:
    """Excerpts of a set, as long as the mixtures of the recipe."""
    mixtures, network = read_set(config.folder, mixture=config.mixture, sources=config.sources), recipe.network
    if (mixtures.sample_rate, mixtures.n_sources) != (network.sample_rate, network.n_sources):
        raise CorpusError(
            f"{config.folder}: mixtures of {mixtures.n_sources} talkers at {mixtures.sample_rate} Hz, "
            f"but the network has {network.n_sources} outputs at {network.sample_rate} Hz; change one of them"
        )
    duration_s = recipe.mixtures[0].recipe.duration_s
    assert duration_s is not None  # the recipe has been checked
    return SetDataset(size, mixtures, network.n_sources, round(duration_s * network.sample_rate))


def split_corpora(everything: Corpora, config: DataConfig, seed: int) -> tuple[Corpora, Corpora]:
    """What to train on and what to validate on: by the split file, by the splits that the speech says it has, else
    some speakers held out by the seed."""
    speech = everything.speech
    if config.splits is not None or {"train", "valid"} <= {recording.split for recording in speech.recordings}:
        return everything.in_split("train", config.splits), everything.in_split("valid", config.splits)
    if config.valid_speakers == 0:
        return everything, everything
    rng = np.random.default_rng(seed)
    held_out = [str(name) for name in rng.permutation(speech.names)[: config.valid_speakers]]
    return replace(everything, speech=speech.without(held_out)), replace(everything, speech=speech.only(held_out))
