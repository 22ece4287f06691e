"""Windows and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbabble.inference.windows import WindowJoiner, WindowSplitter


def split(blocks, window, overlap):
    splitter = WindowSplitter(window, overlap)
    return [one for block in blocks for one in splitter.push(block)] + splitter.finish()


def join(windows, overlap):
    joiner = WindowJoiner(overlap)
    return np.concatenate([*map(joiner.push, windows), joiner.finish()], axis=1)


@given(
    n_samples=st.integers(1, 400),
    window=st.integers(2, 60),
    overlap=st.integers(1, 59),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
@settings(max_examples=200)
def test_joining_the_windows_gives_the_signal_back(n_samples, window, overlap, cuts):
    overlap = min(overlap, window - 1)
    signal = np.arange(1, n_samples + 1, dtype=np.float32)[None]
    blocks = np.split(signal, sorted(cut for cut in cuts if cut < n_samples), axis=1)
    windows = split(blocks, window, overlap)
    assert all(one.shape[1] == window for one in windows[:-1])
    assert len(windows) == 1 or windows[-1].shape[1] > overlap
    joined = join(windows, overlap)
    np.testing.assert_allclose(joined, signal, rtol=1e-5)


def test_an_overlap_as_long_as_the_window_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        WindowSplitter(5, 5)
