"""Mixtures for training and validation, drawn while the network trains."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from unbabble.mixing.corpus import Corpus, DecodedAudio, read_split, scan_noise, scan_speech
from unbabble.mixing.mixture import Mixer
from unbabble.mixing.recipe import MixtureRecipe, Mixtures
from unbabble.mixing.rooms import RoomResponse, make_bank
from unbabble.training.config import DataConfig, TrainingRecipe

TRAIN_SEED, VALID_SEED, ROOM_SEED = 0, 1, 2  # added to the recipe's seed, times three

Batch = tuple[Tensor, Tensor]  # mixture (batch, samples), sources (batch, source, samples)
Loader = DataLoader[Batch]


@dataclass(frozen=True)
class TrainingData:
    """Loaders of fresh training mixtures and of the fixed validation mixtures; hours of train speech."""

    train: Loader
    valid: Loader
    speech_hours: float
    n_speakers: int


class MixtureDataset(Dataset[Batch]):
    """Mixture number i as tensors: mixture (samples,), sources (source, samples)."""

    def __init__(self, mixer: Mixer, size: int) -> None:
        self.mixer, self.size = mixer, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Batch:
        drawn = self.mixer(index)
        return torch.from_numpy(drawn.mixture), torch.from_numpy(drawn.sources)


class FreshSampler(Sampler[int]):
    """Indices that never come again: epoch e has [e * size, (e + 1) * size)."""

    def __init__(self, size: int) -> None:
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer, so that a resumed run draws what it would have drawn."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * self.size, (self.epoch + 1) * self.size))

    def __len__(self) -> int:
        return self.size


def load_data(recipe: TrainingRecipe) -> TrainingData:
    """Scan and decode the corpora, make the rooms, and set up both loaders. Raises CorpusError, AudioError."""
    config = recipe.data
    speech = scan_speech(config.speech)
    noise = scan_noise(config.noise) if config.noise else None
    train_speech, valid_speech = split_speakers(speech, config, recipe.seed)
    train_noise, valid_noise = (_split_noise(noise, config, split) for split in ("train", "valid"))

    audio = DecodedAudio(recipe.network.sample_rate)
    hours = audio.load(train_speech)
    draw_room = _room_banks(recipe)

    def mixer(speech: Corpus, noise: Corpus | None, mixtures: Mixtures, seed: int) -> Mixer:
        return Mixer(speech, noise, mixtures, audio, 3 * recipe.seed + seed, draw_room)

    of_any_time = tuple(replace(part, first=0) for part in recipe.mixtures)
    train = MixtureDataset(mixer(train_speech, train_noise, recipe.mixtures, TRAIN_SEED), recipe.training.epoch_size)
    valid = MixtureDataset(mixer(valid_speech, valid_noise, of_any_time, VALID_SEED), recipe.training.valid_size)
    batch_size = recipe.training.batch_size
    keep_alive = config.workers > 0
    return TrainingData(
        DataLoader(
            train,
            batch_size,
            sampler=FreshSampler(len(train)),
            num_workers=config.workers,
            persistent_workers=keep_alive,
            drop_last=len(train) > batch_size,
        ),
        DataLoader(valid, batch_size, num_workers=config.workers, persistent_workers=keep_alive),
        hours,
        len(train_speech.names),
    )


def split_speakers(speech: Corpus, config: DataConfig, seed: int) -> tuple[Corpus, Corpus]:
    """Speakers to train on and to validate on: by the split file, else some held out by the seed."""
    if config.splits is not None:
        train, valid = (speech.only(read_split(config.splits, split)) for split in ("train", "valid"))
        return train, valid
    if config.valid_speakers == 0:
        return speech, speech
    rng = np.random.default_rng(seed)
    held_out = rng.permutation(speech.names)[: config.valid_speakers]
    return speech.without(held_out), speech.only(held_out)


def _split_noise(noise: Corpus | None, config: DataConfig, split: str) -> Corpus | None:
    if noise is None or config.splits is None:
        return noise
    return noise.only(read_split(config.splits, split))


@dataclass(frozen=True)
class RoomBanks:
    """Rooms made once for each recipe that wants them; a draw takes any of them."""

    banks: dict[MixtureRecipe, list[RoomResponse]]

    def __call__(self, recipe: MixtureRecipe, rng: np.random.Generator) -> RoomResponse:
        bank = self.banks[recipe]
        return bank[int(rng.integers(len(bank)))]


def _room_banks(recipe: TrainingRecipe) -> RoomBanks:
    jobs = min(os.cpu_count() or 1, recipe.data.rooms)
    seed = 3 * recipe.seed + ROOM_SEED
    recipes = {part.recipe for part in recipe.mixtures}
    return RoomBanks(
        {
            one: make_bank(one.room, recipe.data.rooms, one.n_speakers + 1, one.sample_rate, seed, jobs)
            for one in recipes
            if one.room is not None
        }
    )
