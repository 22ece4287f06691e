"""Recordings that pass the scan but cannot be decoded: named, left out, and all else is made."""

import json
import shutil

import numpy as np
import pyroomacoustics
import pytest
import soundfile
from conftest import RATE, REPO, Told

from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import AudioError, CorpusError
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import MixtureRecipe, WeightedRecipe
from unbabble.mixing.rooms import draw_room, impulse_responses
from unbabble.sets.simulate import simulate
from unbabble.training.data import DataModule
from unbabble.training.recipe import read_recipe, with_changes, with_data

QUICK = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0, room=None, noise_snr_db=(10.0, 20.0))),)
COUNT = 12


@pytest.fixture
def damaged(corpora, tmp_path):
    """Speech with three bad files: NaN, a flac damaged in its middle, and all that one speaker says."""
    speech, noise = (shutil.copytree(folder, tmp_path / folder.name) for folder in corpora)
    nan = soundfile.read(speech / "bob" / "book" / "1.wav")[0]
    nan[5000] = np.nan
    soundfile.write(speech / "bob" / "book" / "1.wav", nan, RATE, subtype="FLOAT")
    for path in (speech / "ann" / "0.flac", speech / "dan" / "0.flac"):
        path.parent.mkdir(exist_ok=True)
        shutil.copy(corpora[0] / "cyd" / "book" / "0.flac", path)
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 3000] = bytes(3000)
        path.write_bytes(content)
    return speech, noise


def manifest(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_simulating_goes_on_without_them_and_names_each_once(damaged, tmp_path, caplog):
    for out, jobs in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        told = Told()
        simulate([damaged[0]], [damaged[1]], out, QUICK, count=COUNT, jobs=jobs, progress=told)
        assert len(told.notices) == len(set(told.notices)) == 3
        for name in ("ann/0.flac", "bob/book/1.wav", "dan/0.flac"):
            assert sum(f"left out: {damaged[0] / name}: " in line for line in told.notices) == 1
    one, two = manifest(tmp_path / "one"), manifest(tmp_path / "two")
    assert one == two
    assert len(one) == COUNT
    used = {recording for row in one for recordings in row["recordings"] for recording in recordings}
    assert used == {"ann/1.wav", "bob/book/0.flac", "cyd/book/0.flac", "cyd/book/1.wav"}
    simulate([damaged[0]], [damaged[1]], tmp_path / "one", QUICK, count=COUNT + 2)  # and it can be gone on with
    assert any("left out: " in line for line in caplog.messages)  # whoever does not watch is told, too
    assert manifest(tmp_path / "one")[:COUNT] == two


def test_mixtures_without_them_are_as_they_were(damaged, corpora, tmp_path):
    """What is bad changes only the mixtures that would have it."""
    whole = shutil.copytree(damaged[0], tmp_path / "whole")
    for name in ("ann/0.flac", "bob/book/1.wav"):
        shutil.copy(corpora[0] / name, whole / name)
    shutil.copy(corpora[0] / "cyd" / "book" / "0.flac", whole / "dan" / "0.flac")

    def plans(speech):
        heard = scan_corpora([speech], [damaged[1]])
        mixer = Mixer(heard.speech, heard.noise, QUICK, DecodedAudio(RATE))
        return [mixer.draw(index) for index in range(COUNT)]

    bad = {"ann/0.flac", "bob/book/1.wav", "dan/0.flac"}
    before, after = plans(whole), plans(damaged[0])
    n_changed = 0
    for one, other in zip(before, after, strict=True):
        if bad.isdisjoint(recording for talker in one.talkers for recording in talker.recordings):
            assert one.talkers[0].speaker == other.talkers[0].speaker
        else:
            n_changed += 1
            assert one != other
    assert 0 < n_changed < COUNT


def test_a_list_that_needs_one_is_rendered_without_those_mixtures(damaged, corpora, tmp_path):
    """The rest is there, and the program fails in the end."""
    whole = tmp_path / "whole"
    simulate([corpora[0]], [corpora[1]], whole, QUICK, count=COUNT)
    bad = {"ann/0.flac", "bob/book/1.wav"}
    needing = [row["id"] for row in manifest(whole) if bad & {one for each in row["recordings"] for one in each}]
    shutil.rmtree(damaged[0] / "dan")
    with pytest.raises(
        CorpusError, match=rf"{len(needing)} of {COUNT} mixtures are left out, {needing[0]} the first"
    ):
        simulate([damaged[0]], [damaged[1]], tmp_path / "out", QUICK, listed=whole / "manifest.jsonl")
    assert 0 < len(needing) < COUNT
    assert [row["id"] for row in manifest(tmp_path / "out")] == sorted(
        {row["id"] for row in manifest(whole)} - set(needing)
    )


def test_training_goes_on_without_them(damaged, tmp_path):
    recipe = with_data(read_recipe(REPO / "recipes" / "smoke.yaml"), [damaged[0]], [damaged[1]])
    changes = ["training.epoch_size=8", "training.valid_size=2", "data.rooms=2", "mixtures.1.recipe.room=null"]
    data = DataModule(with_changes(recipe, changes), tmp_path / "run")
    assert all(np.isfinite(batch.mixture.numpy()).all() for batch in data.train_dataloader())
    told = [line for line in data.notices if line.startswith("left out: ")]
    assert [any(name in line for line in told) for name in ("ann/0.flac", "bob/book/1.wav", "dan/0.flac")] == [
        True
    ] * 3


def test_where_nothing_can_be_read_it_is_told(damaged):
    heard = scan_corpora([damaged[0] / "dan" / ".."], [damaged[1]])
    alone = (WeightedRecipe(1.0, MixtureRecipe(n_speakers=1, room=None, noise_snr_db=None)),)
    mixer = Mixer(heard.speech.only(["dan"]), None, alone, DecodedAudio(RATE))
    with pytest.raises(AudioError, match=r"dan/0\.flac: damaged"):
        mixer.draw(0)


def test_rooms_change_nothing_for_the_rest_of_the_process():
    constants = pyroomacoustics.constants
    for high_pass in (True, False):
        constants.set("rir_hpf_enable", high_pass)
        room = draw_room(MixtureRecipe().room, 1, np.random.default_rng(0))
        made = impulse_responses(room, RATE)[0]
        assert constants.get("rir_hpf_enable") is high_pass
        if high_pass:
            first = made
    constants.set("rir_hpf_enable", True)
    np.testing.assert_array_equal(made, first)
