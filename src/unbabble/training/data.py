"""What a run trains on: corpora, rooms and mixtures of a recipe, as loaders of batches."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from unbabble.base.progress import Stage, unwatched_stage
from unbabble.corpora.corpus import Corpora
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import CorpusError
from unbabble.mixing.bank import Rooms, make_bank, rooms_of_bank
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import most_speakers
from unbabble.sets.read import read_set
from unbabble.training.config import AnyRecipe, DataConfig, SetConfig, TrainingRecipe
from unbabble.training.datasets import Batch, DrawnDataset, DryDataset, FreshSampler, SetDataset
from unbabble.training.device_mixing import DeviceMixer, ResponseTable
from unbabble.training.processes import ALONE, Processes

SEEDS = {"train": 0, "valid": 1, "rooms": 2}  # added to the recipe's seed, times three


@dataclass(frozen=True)
class TrainingData:
    """Loaders of training mixtures and of the fixed validation mixtures.

    device_mixer: makes batches of the training mixtures where they come dry; notices: what a user should know.
    """

    train: DataLoader[Any]
    valid: DataLoader[Batch]
    device_mixer: DeviceMixer | None
    notices: tuple[str, ...]


def load_data(
    recipe: TrainingRecipe, run: Path, processes: Processes = ALONE, stage: Stage = unwatched_stage
) -> TrainingData:
    """Scan and decode the corpora, make the rooms, and set up both loaders.

    run: folder for what the scan remembers and for decoded audio; processes: all that train together, each on
    its part of every batch; stage: told what goes on. Raises CorpusError, AudioError, TrainingError.
    """
    config, sizes, material = recipe.data, recipe.training, Material(recipe, run, stage)
    table = None
    if config.train_set is not None:
        train: Dataset[Any] = _on_disk(recipe, config.train_set, sizes.epoch_size)
    else:
        mixer = material.mixer("train")
        if config.mix_on_device:
            table = ResponseTable(material.rooms, tuple(part.recipe.target for part in recipe.mixtures))
            train = DryDataset(mixer, table, sizes.epoch_size, recipe.network.n_sources)
        else:
            train = DrawnDataset(mixer, sizes.epoch_size, recipe.network.n_sources)
    if config.valid_set is not None:
        valid: Dataset[Any] = _on_disk(recipe, config.valid_set, sizes.valid_size)
    else:
        valid = DrawnDataset(material.mixer("valid"), sizes.valid_size, recipe.network.n_sources)
    batch_size, keep_alive = processes.share_of(sizes.batch_size), config.workers > 0
    return TrainingData(
        DataLoader(
            train,
            batch_size,
            sampler=FreshSampler(sizes.epoch_size, processes.rank, processes.world),
            num_workers=config.workers,
            persistent_workers=keep_alive,
            drop_last=sizes.epoch_size > sizes.batch_size,
            pin_memory=torch.cuda.is_available(),
        ),
        DataLoader(valid, batch_size, num_workers=config.workers, persistent_workers=keep_alive),
        None if table is None else DeviceMixer(table),
        material.notices,
    )


class Material:
    """Speech, noise, decoded audio and rooms of a recipe, made when first asked for."""

    def __init__(self, recipe: AnyRecipe, run: Path, stage: Stage) -> None:
        self.recipe, self.run, self.stage = recipe, run, stage
        self.sample_rate = recipe.mixtures[0].recipe.sample_rate
        self.notices: tuple[str, ...] = ()

    @cached_property
    def corpora(self) -> dict[str, Corpora]:
        """Those of the train and of the valid split; the speech to train on is decoded."""
        config = self.recipe.data
        with self.stage("scanning") as progress:
            everything = scan_corpora(config.speech, config.noise, self.run / "scan", progress)
        splits = dict(zip(("train", "valid"), split_corpora(everything, config, self.recipe.seed), strict=True))
        speech = splits["train"].speech
        for corpora in splits.values():
            for corpus in (corpora.speech, *([corpora.noise] if corpora.noise else [])):
                with self.stage("decoding") as progress:
                    self.audio.load(corpus, progress=progress)
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
        jobs, seed = min(os.cpu_count() or 1, config.rooms), 3 * self.recipe.seed + SEEDS["rooms"]
        recipes = {part.recipe.room for part in mixtures if part.recipe.room is not None}
        n_positions = most_speakers(mixtures) + 1
        banks = {}
        for room in recipes:
            with self.stage("rooms") as progress:
                banks[room] = make_bank(room, config.rooms, n_positions, self.sample_rate, seed, jobs, progress)
        return Rooms(self.sample_rate, banks)

    def mixer(self, split: Literal["train", "valid"]) -> Mixer:
        """Mixtures of one split; those to validate on are of all parts from the first on."""
        corpora, mixtures, seed = self.corpora[split], self.recipe.mixtures, 3 * self.recipe.seed + SEEDS[split]
        if split == "valid":
            mixtures = tuple(replace(part, first=0) for part in mixtures)
        return Mixer(corpora.speech, corpora.noise, mixtures, self.audio, seed, self.rooms)


def _on_disk(recipe: TrainingRecipe, config: SetConfig, size: int) -> SetDataset:
    """Excerpts of a set, as long as the mixtures of the recipe."""
    mixtures, network = read_set(config.folder, mixture=config.mixture, sources=config.sources), recipe.network
    if (mixtures.sample_rate, mixtures.n_sources) != (network.sample_rate, network.n_sources):
        raise CorpusError(
            f"{config.folder}: mixtures of {mixtures.n_sources} talkers at {mixtures.sample_rate} Hz, "
            f"but the network has {network.n_sources} outputs at {network.sample_rate} Hz; change one of them"
        )
    duration_s = recipe.mixtures[0].recipe.duration_s
    assert duration_s is not None  # the recipe has been checked
    return SetDataset(mixtures, size, network.n_sources, round(duration_s * network.sample_rate))


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
