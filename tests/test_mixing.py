"""Mixtures are what was drawn: overlap, levels, rooms; and the same for the same seed."""

import json
import math

import numpy as np
import pytest
import soundfile
from conftest import RATE
from hypothesis import given
from hypothesis import strategies as st

from unbabble.config import parse_settings
from unbabble.errors import CorpusError, RecipeError
from unbabble.mixing.corpus import DecodedAudio, read_split, scan_noise, scan_speech
from unbabble.mixing.dataset import simulate
from unbabble.mixing.mixture import Mixer, overlap_layout, rms
from unbabble.mixing.recipe import LowPassRecipe, MixtureRecipe, RoomRecipe, SharedRecipe, paper_mixtures
from unbabble.mixing.rooms import Room, draw_room, impulse_responses, lowest_t60_s, make_bank


def mixer(corpora, seed=0, **recipe) -> Mixer:
    speech, noise = corpora
    parts = (SharedRecipe(1.0, MixtureRecipe(**{"duration_s": 1.5, **recipe})),)
    return Mixer(scan_speech([speech]), scan_noise([noise]), parts, DecodedAudio(RATE), seed)


@given(st.integers(2, 100_000), st.floats(0, 1))
def test_two_utterances_fill_the_mixture_and_share_the_ratio(n_samples, ratio):
    (first, second), length = overlap_layout(n_samples, ratio, 2)
    assert (first, second + length) == (0, n_samples)
    assert length == pytest.approx(n_samples / (2 - ratio), abs=0.5)
    shared = length - second
    assert abs(shared - ratio * length) <= 1


@given(st.integers(100, 100_000), st.floats(0, 1), st.integers(1, 5))
def test_any_number_of_utterances_fills_the_mixture(n_samples, ratio, n_speakers):
    starts, length = overlap_layout(n_samples, ratio, n_speakers)
    assert starts[0] == 0
    assert starts[-1] + length == n_samples or n_speakers == 1 == n_samples // length
    assert starts == sorted(starts)


def test_the_overlap_measured_is_the_one_drawn(corpora):
    draw = mixer(corpora, room=None)
    for index in range(20):
        mixture = draw(index)
        active = [np.flatnonzero(source) for source in mixture.dry_sources]
        assert active[0][0] == 0
        assert active[1][-1] == mixture.mixture.size - 1
        shared = active[0][-1] + 1 - active[1][0]
        length = active[0][-1] + 1
        assert abs(shared - mixture.facts.overlap_ratio * length) <= 1


@pytest.mark.parametrize("room", [None, RoomRecipe()])
def test_level_and_snr_before_the_room_are_those_drawn(corpora, room):
    draw = mixer(corpora, seed=5, room=room)
    for index in range(5):
        mixture = draw(index)
        spoken = [
            rms(source[talker.start : talker.start + talker.length])
            for source, talker in zip(mixture.dry_sources, mixture.facts.talkers, strict=True)
        ]
        assert 20 * math.log10(spoken[0] / spoken[1]) == pytest.approx(mixture.facts.levels_db[0], abs=0.1)
        measured = 20 * math.log10(rms(mixture.dry_sources.sum(0)) / rms(mixture.dry_noise))
        assert measured == pytest.approx(mixture.facts.noise_snr_db, abs=0.1)
        assert 0 <= mixture.facts.levels_db[0] <= 5
        assert 10 <= mixture.facts.noise_snr_db <= 20


def test_the_mixture_is_the_sum_of_its_parts(corpora):
    mixture = mixer(corpora)(0)
    np.testing.assert_allclose(mixture.mixture, mixture.sources.sum(0) + mixture.noise, atol=1e-6)
    assert max(np.abs(mixture.mixture).max(), np.abs(mixture.sources).max()) == pytest.approx(0.9, abs=1e-3)
    assert rms(mixture.noise) > 0


def test_a_seed_defines_each_mixture_by_itself(corpora):
    once, again, other = mixer(corpora, seed=1), mixer(corpora, seed=1), mixer(corpora, seed=2)
    for index in range(3):
        once(index)
    np.testing.assert_array_equal(once(3).mixture, again(3).mixture)
    assert not np.array_equal(again(3).mixture, other(3).mixture)
    assert not np.array_equal(again(3).mixture, again(4).mixture)


def test_talkers_of_a_mixture_differ_and_short_files_are_joined(corpora):
    draw = mixer(corpora, duration_s=20.0, room=None)  # longer than any file
    for index in range(10):
        one, other = draw(index).facts.talkers
        assert one.speaker != other.speaker
        assert len(one.files) > 1


def test_more_talkers_than_two(corpora):
    mixture = mixer(corpora, n_speakers=3)(0)
    assert mixture.sources.shape == (3, int(1.5 * RATE))
    assert len(mixture.facts.levels_db) == 2


def test_low_pass_removes_what_lies_above(corpora):
    low_pass = LowPassRecipe(talker_share=1.0, cutoff_hz=(2000.0, 2000.0))
    spectrum = np.abs(np.fft.rfft(mixer(corpora, room=None, noise_snr_db=None, low_pass=low_pass)(0).mixture))
    hertz = np.fft.rfftfreq(int(1.5 * RATE), 1 / RATE)
    assert spectrum[hertz > 2600].max() < 0.02 * spectrum[hertz < 1800].max()


def test_direct_sound_arrives_when_the_distance_says():
    room = Room((6.0, 5.0, 3.0), 0.3, (1.0, 1.0, 1.5), ((1.0, 1.0 + 3.43, 1.5), (4.0, 3.0, 1.0)))
    responses = impulse_responses(room, RATE).responses
    for source, response in zip(room.sources_m, responses, strict=True):
        expected = math.dist(source, room.microphone_m) / 343 * RATE
        loud = int(np.argmax(np.abs(response[: int(expected) + 20])))
        assert abs(loud - expected) <= 1


@pytest.mark.parametrize(("size", "t60_s"), [((5.0, 4.0, 3.0), 0.3), ((9.0, 8.0, 3.5), 0.5), ((3.5, 3.5, 2.6), 0.4)])
def test_sound_dies_away_as_fast_as_asked(size, t60_s):
    """Schroeder integration: the decay from -5 to -25 dB, times three."""
    response = impulse_responses(Room(size, t60_s, (1.0, 1.2, 1.4), ((2.5, 2.0, 1.6),)), RATE).responses[0]
    left = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    decay_db = 10 * np.log10(left / left[0] + 1e-20)
    measured = 3 * (np.argmax(decay_db < -25) - np.argmax(decay_db < -5)) / RATE
    assert measured == pytest.approx(t60_s, rel=0.35)


def test_a_room_too_large_for_its_t60_gets_the_lowest_that_it_can_have():
    recipe = RoomRecipe(length_m=(10, 10), width_m=(10, 10), height_m=(4, 4), t60_s=(0.1, 0.1))
    room = draw_room(recipe, 2, np.random.default_rng(0))
    assert room.t60_s == pytest.approx(lowest_t60_s((10, 10, 4)))
    assert all(np.isfinite(one).all() for one in impulse_responses(room, RATE).responses)


def test_everybody_is_off_the_walls():
    rng = np.random.default_rng(0)
    for _ in range(100):
        room = draw_room(RoomRecipe(), 3, rng)
        places = np.array([room.microphone_m, *room.sources_m])
        assert (places >= 0.5).all()
        assert (places <= np.array(room.size_m) - 0.5).all()


def test_a_bank_of_rooms_is_the_same_for_any_number_of_jobs():
    small = RoomRecipe(t60_s=(0.1, 0.15))
    for one, other in zip(make_bank(small, 6, 1, 8000, 3, 1), make_bank(small, 6, 1, 8000, 3, 2), strict=True):
        assert one.room == other.room
        np.testing.assert_array_equal(one.responses[0], other.responses[0])


def test_simulated_sets_are_the_same_for_any_number_of_jobs(corpora, tmp_path):
    speech, noise = corpora
    for jobs in (1, 3):
        simulate([speech], [noise], tmp_path / str(jobs), 4, paper_mixtures(), seed=9, jobs=jobs, dry=True)
    one, other = (sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in "13")
    assert len(one) == 4 * 7 + 1
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    rows = [json.loads(line) for line in (tmp_path / "1" / "manifest.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["000000", "000001", "000002", "000003"]
    samples = {key: soundfile.read(tmp_path / "1" / file)[0] for key, file in rows[2]["files"].items()}
    total = samples["source1"] + samples["source2"] + samples["noise"]
    np.testing.assert_allclose(samples["mixture"], total, atol=1e-5)


def test_splits_choose_names(tmp_path, corpora):
    path = tmp_path / "splits.json"
    path.write_text('{"train": {"speech": ["ann"], "noise": ["hum"]}, "valid": {"speech": ["bob"]}}')
    assert scan_speech([corpora[0]]).only(read_split(path, "train")).names == ("ann",)
    assert scan_noise([corpora[1]]).only(read_split(path, "train")).names == ("hum",)
    with pytest.raises(CorpusError, match="no split called 'test'; it has train, valid"):
        read_split(path, "test")


def test_a_corpus_that_cannot_serve_is_refused(tmp_path, corpora):
    with pytest.raises(CorpusError, match="no such folder"):
        scan_speech([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no speakers found"):
        scan_speech([tmp_path / "empty"])
    lonely = scan_speech([corpora[0]]).only(["ann"])
    with pytest.raises(CorpusError, match="need 2 speakers, but there is only ann"):
        Mixer(lonely, None, paper_mixtures(), DecodedAudio(RATE))
    for noise in (None, scan_noise([corpora[1]]).only([])):
        with pytest.raises(CorpusError, match="asks for noise"):
            Mixer(scan_speech([corpora[0]]), noise, paper_mixtures(), DecodedAudio(RATE))


def test_noises_of_one_name_are_all_heard(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "n.wav", np.ones(100), RATE)
    assert len(scan_noise([tmp_path]).recordings["n"]) == 2


def test_parts_of_the_mixtures_can_join_later(corpora):
    clean = MixtureRecipe(duration_s=1.0, noise_snr_db=None, room=None)
    noisy = MixtureRecipe(duration_s=1.0, room=None)
    parts = (SharedRecipe(1.0, clean), SharedRecipe(9.0, noisy, first=20))
    draw = Mixer(scan_speech([corpora[0]]), scan_noise([corpora[1]]), parts, DecodedAudio(RATE))
    noises = [draw(index).facts.noise is not None for index in range(40)]
    assert not any(noises[:20])
    assert any(noises[20:])
    with pytest.raises(CorpusError, match="first: 0"):
        Mixer(scan_speech([corpora[0]]), scan_noise([corpora[1]]), parts[1:], DecodedAudio(RATE))


def test_a_silent_speaker_is_named(tmp_path, corpora):
    for speaker in ("mute", "still"):
        (tmp_path / speaker).mkdir()
        soundfile.write(tmp_path / speaker / "0.wav", np.zeros(RATE), RATE)
    parts = (SharedRecipe(1.0, MixtureRecipe(noise_snr_db=None, room=None)),)
    with pytest.raises(CorpusError, match="only silence"):
        Mixer(scan_speech([tmp_path]), None, parts, DecodedAudio(RATE))(0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"overlap_ratio": [0.8, 0.2]}, "from low to high"),
        ({"overlap_ratio": [0, 1.5]}, "less than or equal to 1"),
        ({"durations": 3}, "durations is not a key that anything reads"),
        ({"duration_s": -1}, "greater than 0"),
        ({"room": {"height_m": [0.5, 3.0]}}, "leaves no place"),
    ],
)
def test_a_wrong_recipe_is_explained(values, told):
    with pytest.raises(RecipeError, match=told):
        parse_settings(MixtureRecipe, values, "here.yaml")
