"""Windows and back, and tracks that keep their talker across windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbabble.stitch import align_windows, best_order
from unbabble.windows import join_windows, split_windows


@given(
    n_samples=st.integers(1, 400),
    window=st.integers(2, 60),
    overlap=st.integers(1, 59),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
@settings(max_examples=200)
def test_joining_the_windows_gives_the_signal_back(n_samples, window, overlap, cuts):
    if overlap >= window:
        overlap = window - 1
    signal = np.arange(1, n_samples + 1, dtype=np.float32)[None]
    blocks = np.split(signal, sorted(cut for cut in cuts if cut < n_samples), axis=1)
    windows = list(split_windows(blocks, window, overlap))
    assert all(one.shape[1] == window for one in windows[:-1])
    assert len(windows) == 1 or windows[-1].shape[1] > overlap
    joined = np.concatenate(list(join_windows(windows, overlap)), axis=1)
    np.testing.assert_allclose(joined, signal, rtol=1e-5)


def test_an_overlap_as_long_as_the_window_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        list(split_windows([np.zeros((1, 10))], 5, 5))


@pytest.mark.parametrize("n_tracks", [1, 2, 3, 4])
def test_tracks_follow_their_talkers_when_windows_come_shuffled(n_tracks):
    rng = np.random.default_rng(n_tracks)
    talkers = rng.standard_normal((n_tracks, 5000)).astype(np.float32)
    windows = [talkers[:, start : start + 1000] for start in range(0, 4001, 800)]
    shuffled = [windows[0], *(rng.permutation(one) for one in windows[1:])]
    joined = np.concatenate(list(join_windows(align_windows(shuffled, 200), 200)), axis=1)
    np.testing.assert_allclose(joined, talkers, atol=1e-5)


def test_the_order_stays_where_the_overlap_is_silent():
    assert best_order(np.zeros((3, 50), np.float32), np.zeros((3, 50), np.float32)) == (0, 1, 2)
