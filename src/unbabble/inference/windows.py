"""A long signal as overlapping windows, and separated windows as long tracks."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class WindowSplitter:
    """Blocks (1, samples) of any size in, windows (1, window) out, each sharing ``overlap`` samples with the next."""

    def __init__(self, window: int, overlap: int) -> None:
        if not 0 < overlap < window:
            raise ValueError(f"overlap must lie between 0 and the window of {window} samples, not {overlap}")
        self._window, self._step = window, window - overlap
        self._held = np.zeros((1, 0), np.float32)

    def push(self, block: Samples) -> list[Samples]:
        """The windows that are whole now, with at least one sample after them."""
        held = np.concatenate([self._held, block], axis=1)
        n_windows = max(0, -(-(held.shape[1] - self._window) // self._step))
        self._held = held[:, n_windows * self._step :].copy()
        return [held[:, at : at + self._window] for at in range(0, n_windows * self._step, self._step)]

    def finish(self) -> list[Samples]:
        """The last window, as short as what is left, but longer than the overlap unless it is the only one."""
        return [self._held] if self._held.shape[1] else []


class WindowJoiner:
    """Separated windows (tracks, samples) in, in order and with tracks aligned; blocks of the long tracks out.

    Over the overlap the earlier window is faded out linearly and the later one in.
    """

    def __init__(self, overlap: int) -> None:
        self._overlap = overlap
        self._fade_in = (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
        self._tail: Samples | None = None

    def push(self, estimate: Samples) -> Samples:
        """What no later window changes."""
        if self._tail is not None:
            crossed = self._tail * (1 - self._fade_in) + estimate[:, : self._overlap] * self._fade_in
            estimate = np.concatenate([crossed, estimate[:, self._overlap :]], axis=1)
        self._tail = estimate[:, -self._overlap :].copy()
        return estimate[:, : -self._overlap]

    def finish(self, n_tracks: int) -> Samples:
        """The end of the last window: (tracks, samples)."""
        return np.zeros((n_tracks, 0), np.float32) if self._tail is None else self._tail
