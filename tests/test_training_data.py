"""What networks are trained on: on the processor or on the training device, drawn or from sets, alone or together."""

import dataclasses
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import RATE, REPO
from safetensors.torch import load_file

from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import CorpusError, TrainingError
from unbabble.mixing.bank import Rooms, make_bank
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.on_device import DeviceMixer, ResponseTable
from unbabble.mixing.recipe import (
    CodecRecipe,
    MixtureRecipe,
    RoomRecipe,
    SameSpeakerRecipe,
    TelephoneRecipe,
    WeightedRecipe,
    paper_mixtures,
)
from unbabble.sets.simulate import simulate
from unbabble.training.config import SetConfig
from unbabble.training.data import DataModule
from unbabble.training.datasets import DrawnDataset, DryDataset, SeparationBatch
from unbabble.training.recipe import read_recipe, with_data
from unbabble.training.run import Processes, train
from unbabble.training.separation import GAIN, SeparationTask

ROOM = RoomRecipe(length_m=(3, 4), width_m=(3, 4), t60_s=(0.1, 0.3))


def short_recipe(data: dict, **training):
    recipe = read_recipe(REPO / "recipes" / "smoke.yaml")
    parts = (WeightedRecipe(1.0, dataclasses.replace(recipe.mixtures[0].recipe, duration_s=0.5)),)
    return dataclasses.replace(
        recipe,
        mixtures=parts,
        data=dataclasses.replace(recipe.data, **data),
        training=dataclasses.replace(
            recipe.training, **{"max_epochs": 1, "epoch_size": 8, "valid_size": 4, **training}
        ),
    )


@pytest.mark.parametrize("target", ["reverberant", "early", "direct"])
def test_mixing_on_the_device_equals_mixing_beforehand(corpora, target):
    heard = scan_corpora([corpora[0]], [corpora[1]])
    parts = (
        WeightedRecipe(3.0, MixtureRecipe(duration_s=1.0, room=ROOM, target=target, n_speakers=(0, 2))),
        WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0, room=None, n_speakers=(1, 2))),
    )
    rooms = Rooms(RATE, {ROOM: make_bank(ROOM, 5, 3, RATE, 0)})
    mixer = Mixer(heard.speech, heard.noise, parts, DecodedAudio(RATE), rooms=rooms)
    table = ResponseTable(rooms, (target,))
    dry, drawn = DryDataset(24, mixer, table, 2), DrawnDataset(24, mixer, 2)
    batch = tuple(torch.stack(parts) for parts in zip(*(dry[index] for index in range(24)), strict=True))
    mixtures, sources = DeviceMixer(table)(batch)
    for index, (mixture, source) in enumerate(zip(mixtures, sources, strict=True)):
        expected_mixture, expected_sources, _ = drawn[index]
        torch.testing.assert_close(mixture, expected_mixture, atol=1e-5, rtol=0)
        torch.testing.assert_close(source, expected_sources, atol=1e-5, rtol=0)


def test_a_run_can_mix_on_its_device_and_train_on_sets(corpora, tmp_path):
    mixed = dataclasses.replace(short_recipe({}).mixtures[0].recipe, room=ROOM, noise_snr_db=(10.0, 20.0))
    simulate([corpora[0]], [corpora[1]], tmp_path / "set", (WeightedRecipe(1.0, mixed),), count=3)
    both = SetConfig(tmp_path / "set")
    data = {"train_set": both, "valid_set": both, "speech": (), "noise": ()}
    assert train(short_recipe(data), tmp_path / "on set") == tmp_path / "on set" / "model"
    recipe = short_recipe({"mix_on_device": True, "rooms": 3})
    recipe = dataclasses.replace(recipe, mixtures=(WeightedRecipe(1.0, mixed),))
    recipe = with_data(recipe, [corpora[0]], [corpora[1]])
    assert train(recipe, tmp_path / "on device") == tmp_path / "on device" / "model"


@pytest.mark.parametrize("on_device", [False, True])
def test_mixtures_of_one_talker_of_nobody_and_of_every_condition_are_trained_on(corpora, tmp_path, on_device):
    recipe = short_recipe({"mix_on_device": on_device, "rooms": 3, "valid_speakers": 0}, epoch_size=16, valid_size=8)
    any_number = dataclasses.replace(
        recipe.mixtures[0].recipe,
        n_speakers=(0, 2),
        noise_snr_db=(10.0, 20.0),
        room=ROOM,
        speed=(0.9, 1.1),
        telephone=TelephoneRecipe(probability=0.3),
        codec=CodecRecipe(mp3_probability=0.2, opus_probability=0.2),
        same_speaker=SameSpeakerRecipe(probability=0.2),
    )
    recipe = with_data(
        dataclasses.replace(recipe, mixtures=(WeightedRecipe(1.0, any_number),)), [corpora[0]], [corpora[1]]
    )
    mixed = DataModule(recipe, tmp_path / "data").train.mixer.draw
    assert {len(mixed(index).talkers) for index in range(16)} == {0, 1, 2}
    model = train(recipe, tmp_path / "run")
    assert all(value.isfinite().all() for value in load_file(model / "weights.safetensors").values())


def test_mixtures_with_silent_sources_count_in_no_improvement(monkeypatch):
    """Of three mixtures only one has all its sources: 20 dB after, 0 dB before."""
    time = torch.arange(RATE) / RATE
    first, second, noise = (torch.sin(2 * math.pi * hertz * time) for hertz in (200, 300, 700))
    silent = torch.zeros_like(first)
    sources = torch.stack([torch.stack(pair) for pair in ((first, second), (first, silent), (silent, silent))])
    mixture, noise = sources.sum(1) + torch.tensor([0.0, 1.0, 1.0])[:, None] * noise, 0.1 * noise
    logged = {}
    task = SeparationTask(lambda heard: sources[-len(heard) :] + noise, short_recipe({}).training)
    monkeypatch.setattr(task, "log", lambda name, value, **_: logged.update({name: float(value)}))
    task.validation_step(SeparationBatch(mixture, sources, torch.tensor([0.6, 0.0, 0.0])), 0)
    task.on_validation_epoch_end()
    assert logged[GAIN] == logged[f"{GAIN} at overlap 50-75 %"] == pytest.approx(20, abs=0.01)
    assert math.isfinite(logged.pop("valid/loss"))
    assert len(logged) == 2
    task.validation_step(SeparationBatch(mixture[1:], sources[1:], torch.zeros(2)), 0)
    task.on_validation_epoch_end()
    assert math.isnan(logged[GAIN])


def test_excerpts_of_a_set_have_one_length_and_change_with_the_epoch(corpora, tmp_path):
    parts = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.5, room=None)),)
    simulate([corpora[0]], [corpora[1]], tmp_path / "set", parts, count=4)
    both = SetConfig(tmp_path / "set")
    data = DataModule(short_recipe({"train_set": both, "valid_set": both}), tmp_path)
    first, later = data.train[1], data.train[5]  # both of mixture 1
    assert first[0].shape == later[0].shape == (RATE // 2,)
    assert first[1].shape == (2, RATE // 2)
    assert not torch.equal(first[0], later[0])
    long = short_recipe({"train_set": both, "valid_set": both})
    longer = dataclasses.replace(long.mixtures[0].recipe, duration_s=3.0)
    padded = DataModule(dataclasses.replace(long, mixtures=(WeightedRecipe(1.0, longer),)), tmp_path).train[0][0]
    assert padded.shape == (3 * RATE,)
    assert not padded[round(1.5 * RATE) :].any()


def test_a_set_that_does_not_fit_the_network_is_refused(corpora, tmp_path):
    parts = (WeightedRecipe(1.0, MixtureRecipe(duration_s=0.5, room=None, n_speakers=3)),)
    simulate([corpora[0]], [corpora[1]], tmp_path / "set", parts, count=1)
    with pytest.raises(CorpusError, match="mixtures of 3 talkers at 16000 Hz, but the network has 2 outputs"):
        DataModule(short_recipe({"train_set": SetConfig(tmp_path / "set")}), tmp_path)


def test_processes_share_every_batch(tmp_path):
    recipe = short_recipe({}, epoch_size=11, batch_size=4)
    samplers = []
    for processes in (Processes(), Processes(0, 2, 2), Processes(1, 2, 2)):
        data = DataModule(recipe, tmp_path, processes)
        data.drawn = 24
        samplers.append(data.train_dataloader().sampler)
    alone, first, second = samplers
    together = [index for pair in zip(first, second, strict=True) for index in pair]
    assert together == list(alone) == list(range(24, 32))  # whole batches
    assert (len(alone), len(first)) == (8, 4)
    assert Processes(1, 2, 2).share_of(8) == 4
    with pytest.raises(TrainingError, match="batch_size 3 cannot be shared by 2 processes"):
        Processes(1, 2, 2).share_of(3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over torchrun is for POSIX")
def test_two_processes_learn_what_one_does(tmp_path):
    """The gradients of two processes, averaged, are those of one process with the whole batch."""
    recipe = yaml.safe_load((REPO / "recipes" / "smoke.yaml").read_text())
    recipe["data"]["speech"] = [str(REPO / "examples" / "voices")]
    recipe["mixtures"] = recipe["mixtures"][:1]
    recipe["training"] |= {"max_epochs": 1, "epoch_size": 12, "valid_size": 4, "schedule": {"kind": "step"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", torchrun)):
        command = [sys.executable, *launcher, "-m", "unbabble", "train", str(tmp_path / "recipe.yaml")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--out", str(tmp_path / name)], capture_output=True, text=True, timeout=300, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(str(tmp_path / name / "model")) == 1
    one, two = (load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-5, rtol=1e-3)


def test_the_banks_of_a_run_serve_all_its_talkers(corpora, tmp_path):
    recipe = with_data(read_recipe(REPO / "recipes" / "paper.yaml"), [corpora[0]], [corpora[1]])
    data = dataclasses.replace(recipe.data, rooms=2, workers=0, valid_speakers=0)
    training = dataclasses.replace(recipe.training, epoch_size=2, valid_size=2)
    recipe = dataclasses.replace(recipe, data=data, training=training)
    loaded = DataModule(recipe, tmp_path)
    assert recipe.mixtures == paper_mixtures()
    mixture, sources, overlap_ratio = next(iter(loaded.train_dataloader()))
    assert mixture.shape == (2, 4 * RATE)
    assert sources.shape == (2, 2, 4 * RATE)
    assert np.isfinite(sources.numpy()).all()
    assert ((overlap_ratio >= 0) & (overlap_ratio <= 1)).all()
