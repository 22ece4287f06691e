"""Channels as one: averaged, but so that they do not cancel."""

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, run_here

from unbabble.audio import Downmix, read_mono, to_mono
from unbabble.errors import AudioError


def speech(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Noise that comes and goes."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(round(seconds * RATE)) * np.repeat(
        rng.uniform(0, 1, 20), round(seconds * RATE / 20)
    )
    return (0.1 * samples).astype(np.float32)


def mixed(channels, n_blocks: int = 5) -> tuple[np.ndarray, tuple[int, ...]]:
    downmix = Downmix()
    blocks = [downmix.push(block) for block in np.array_split(np.stack(channels), n_blocks, axis=1)]
    return np.concatenate(blocks, axis=1)[0], downmix.inverted


def test_channels_are_averaged():
    left, right = speech(0), speech(1)
    samples, inverted = mixed([left, right])
    np.testing.assert_allclose(samples, (left + right) / 2, atol=1e-7)
    assert inverted == ()


@pytest.mark.parametrize("signs", [(1, -1), (1, -1, 1), (1, -1, -1, 1), (1, 1, -1, -1)])
def test_what_an_inverted_channel_shares_stays(signs):
    samples, inverted = mixed([sign * speech(0) for sign in signs])
    np.testing.assert_allclose(samples, speech(0), atol=1e-6)
    assert inverted == tuple(index for index, sign in enumerate(signs) if sign < 0)


@pytest.mark.parametrize("n_channels", [2, 64])
def test_channels_that_share_nothing_stay_as_they_are(n_channels):
    channels = [speech(seed) for seed in range(n_channels)]
    samples, inverted = mixed(channels)
    np.testing.assert_allclose(samples, np.mean(channels, axis=0), atol=1e-6)
    assert inverted == ()


def test_offsets_and_silence_do_not_decide():
    shared = speech(0)
    assert mixed([shared + 0.5, shared - 0.5])[1] == ()
    assert mixed([np.zeros_like(shared), np.zeros_like(shared)])[1] == ()


def test_a_beginning_that_cancels_does_not_decide_for_good():
    """A little noise of one phase, and then speech of the other."""
    hum = 0.01 * np.concatenate([speech(1), np.zeros_like(speech(0))])
    talk = np.concatenate([np.zeros_like(speech(1)), speech(0)])
    samples, inverted = mixed([hum + talk, talk - hum], n_blocks=10)
    assert inverted == ()
    np.testing.assert_allclose(samples[-16000:], talk[-16000:], atol=1e-6)


@pytest.mark.parametrize("channel", [2, -1])
def test_a_channel_that_is_not_there(channel):
    with pytest.raises(AudioError, match=rf"no channel {channel + 1}; expected 1 to 2"):
        list(to_mono([np.zeros((2, 9), np.float32)], channel))


def test_blocks_of_nothing_pass():
    assert Downmix().push(np.zeros((2, 0), np.float32)).shape == (1, 0)


def test_an_inverted_channel_is_told_and_costs_nothing(tmp_path, tiny_model):
    talk, rate = soundfile.read(REPO / "examples" / "two-talkers.flac", dtype="float32", frames=4 * RATE)
    soundfile.write(tmp_path / "mono.wav", talk, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "inverted.wav", np.stack([talk, -talk], axis=1), rate, subtype="FLOAT")
    arguments = (tmp_path / "mono.wav", tmp_path / "inverted.wav", "--out", tmp_path / "out", "--model", tiny_model)
    done = run_here("separate", *arguments, "--speakers", "1")
    assert done.stderr.count("would cancel") == 1
    assert (
        "inverted.wav: channel 2 would cancel the others and was inverted for the average; --channel" in done.stderr
    )
    tracks = [soundfile.read(tmp_path / "out" / name / "speaker1.wav")[0] for name in ("mono", "inverted")]
    assert np.abs(tracks[0]).max() > 0.01
    np.testing.assert_allclose(tracks[1], tracks[0], atol=1e-6)
    np.testing.assert_allclose(read_mono(tmp_path / "inverted.wav", rate), talk, atol=1e-6)
