"""Recordings that come in blocks: nothing is lost, nothing comes later than it must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talkers import assert_separated, talk

from unbabble import Separator
from unbabble.errors import AudioError


def noise(n_samples):
    return (0.1 * np.random.default_rng(n_samples).standard_normal(n_samples)).astype(np.float32)


@given(
    cuts=st.lists(st.floats(0, 1), max_size=6),
    rate=st.sampled_from([8000, 16000, 44100]),
    at_once=st.integers(1, 3),
)
@settings(max_examples=15)
def test_blocks_of_any_size_give_the_talkers_of_several_windows(oracle, cuts, rate, at_once):
    separator, sources = Separator(**oracle), talk(rate)
    mixture = sources.sum(0)
    stream = separator.stream(rate, at_once=at_once)
    tracks = [stream.push(block) for block in np.split(mixture, sorted(round(cut * mixture.size) for cut in cuts))]
    joined = np.concatenate([*tracks, stream.finish()], axis=1)
    assert_separated(joined, sources)
    assert stream.active_speakers == (0, 1)
    np.testing.assert_allclose(joined, separator(mixture, rate), atol=1e-4)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_samples_come_back_after_the_delay(tiny_model, rate):
    stream = Separator(tiny_model).stream(rate)
    assert stream.delay_s == pytest.approx(2.0, abs=0.25)
    pushed = returned = 0
    for block in np.split(noise(10 * rate), 100):
        returned += stream.push(block).shape[1]
        pushed += block.size
        assert returned >= pushed - stream.delay_s * rate - block.size
    assert returned + stream.finish().shape[1] == pushed


def test_a_finished_stream_takes_no_more(tiny_model):
    stream = Separator(tiny_model).stream(16000)
    stream.push(noise(16000))
    stream.finish()
    for use in (lambda: stream.push(noise(10)), stream.finish):
        with pytest.raises(ValueError, match="finished"):
            use()


def test_blocks_that_are_not_fit_are_refused(tiny_model):
    stream = Separator(tiny_model).stream(16000)
    for block, told in (
        (np.zeros((2, 100)), "one channel"),
        (np.full(100, np.nan), "NaN"),
        (np.ones(100, np.int16), "floats"),
    ):
        with pytest.raises(AudioError, match=told):
            stream.push(block)
    with pytest.raises(AudioError, match="8000 to 192000"):
        Separator(tiny_model).stream(1000)
    with pytest.raises(ValueError, match="at_once"):
        Separator(tiny_model).stream(16000, at_once=0)


def test_a_stream_of_nothing_is_too_short(tiny_model):
    with pytest.raises(AudioError, match="too short: 0 samples"):
        Separator(tiny_model).stream(16000).finish()
