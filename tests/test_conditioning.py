"""Offsets, hum and knocks: what is taken from a recording before networks hear it, and what that is worth."""

import itertools

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from unbabble import Separator
from unbabble.audio.filters import HighPass, high_passed
from unbabble.inference.windows import gain_over_knocks

VOICES = ("af_sarah", "am_eric")


@pytest.fixture(scope="module")
def voices() -> np.ndarray:
    """Two who talk at once: (2, samples)."""
    files = (REPO / "examples" / "voices" / voice / "two-talkers.flac" for voice in VOICES)
    return np.stack([soundfile.read(file, dtype="float32")[0] for file in files])


def decibels(ratio) -> float:
    return float(10 * np.log10(ratio))


def si_sdr(tracks: np.ndarray, sources: np.ndarray, where=slice(None)) -> float:
    """The mean over both, for the better order, of what is there."""
    tracks, sources = tracks[:, where], sources[:, where]

    def one(estimate, source):
        target = (estimate @ source) / (source @ source) * source
        return decibels((target @ target + 1e-9) / (np.square(estimate - target).sum() + 1e-9))

    return max(np.mean([*map(one, order, sources)]) for order in itertools.permutations(tracks))


@given(n_samples=st.integers(1, 20_000), cuts=st.lists(st.integers(0, 20_000), max_size=5))
@settings(max_examples=50)
def test_blocks_of_any_size_are_filtered_alike_and_nothing_is_lost(n_samples, cuts):
    samples = (np.random.default_rng(n_samples).standard_normal(n_samples) + 1).astype(np.float32)
    high_pass, cuts = HighPass(RATE), sorted(cut for cut in cuts if cut < n_samples)
    blocks = [high_pass.push(block) for block in np.split(samples[np.newaxis], cuts, axis=1)]
    joined = np.concatenate([*blocks, high_pass.finish()], axis=1)[0]
    assert joined.shape == samples.shape
    np.testing.assert_allclose(joined, high_passed(samples, RATE), atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_what_is_below_voices_goes_and_voices_stay_sample_by_sample(rate):
    for seconds in (0.05, 1.0, 3.0):
        assert np.abs(high_passed(np.full(round(seconds * rate), 0.3, np.float32), rate)).max() < 1e-4
    for hertz in (50.0, 60.0):
        assert decibels(np.mean(high_passed(tone(3.0, rate, hertz), rate) ** 2)) < -50
    for hertz in (80.0, 120.0, 1000.0):
        voice = tone(3.0, rate, hertz)
        inside = slice(rate // 4, -rate // 4)  # at the ends, a tone of another phase would have to go on otherwise
        np.testing.assert_allclose(high_passed(voice, rate)[inside], voice[inside], atol=2e-3)


def test_speech_is_left_as_it_is_and_knocks_are_brought_down(voices):
    for gain in (1.0, 1e-3):
        assert (gain_over_knocks(gain * voices.sum(0), RATE) == 1).all()
    sparse = np.zeros(20 * RATE, np.float32)
    sparse[5 * RATE : 6 * RATE] = voices[0, RATE : 2 * RATE]
    assert (gain_over_knocks(sparse, RATE) == 1).all()
    knocked = 1e-3 * voices.sum(0)
    knocked[RATE : RATE + 200] = 1.0
    gain = gain_over_knocks(knocked, RATE)
    assert np.abs(gain * knocked).max() < 0.01
    assert (gain[: RATE - 400] == 1).all()
    assert (gain[RATE + 600 :] == 1).all()


@pytest.mark.parametrize("disturbance", ["offset", "hum"])
def test_offsets_and_hum_cost_nothing(voices, disturbance):
    separator, time = Separator(), np.arange(voices.shape[1]) / RATE
    added = 0.3 if disturbance == "offset" else 0.1 * np.sin(2 * np.pi * 50 * time)
    clean = si_sdr(separator(voices.sum(0), RATE), voices)
    tracks = separator((voices.sum(0) + added).astype(np.float32), RATE)
    assert si_sdr(tracks, voices) > clean - 0.3
    assert np.abs(tracks.mean(1)).max() < 1e-3


def test_soft_speech_is_heard_beside_a_knock(voices):
    """Speech of -57 dBFS, and a burst of full scale that would make it a thousandth of the level."""
    soft, separator = 0.02 * voices, Separator()
    mixture, knock = soft.sum(0), slice(RATE, RATE + RATE // 10)
    burst = np.random.default_rng(0).standard_normal(RATE // 10) * np.exp(-np.arange(RATE // 10) / (0.02 * RATE))
    mixture[knock] += (burst / np.abs(burst).max()).astype(np.float32)
    stream = separator.stream(RATE)
    tracks = np.concatenate([stream.push(mixture), stream.finish()], axis=1)
    assert stream.active_speakers == (0, 1)
    after = slice(RATE + RATE // 4, None)
    assert si_sdr(tracks, soft, after) > si_sdr(separator(soft.sum(0), RATE), soft, after) - 2
    sums = tracks.sum(0)[knock]
    assert np.abs(sums).max() > 0.5, "the knock is on the tracks, as loud as it was"
