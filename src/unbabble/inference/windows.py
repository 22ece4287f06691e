"""A long signal as overlapping windows, each of which is separated, and separated windows as long tracks."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

FRAME_S = 0.01
SUSTAINED_S = 0.3  # knocks are over sooner, altogether; speech, where there is any, goes on for longer
ABOVE = 40.0  # times the sustained level that peaks may reach: those of speech stay below 10
LOWEST_GAIN = 0.001


class Pending(Protocol):
    """Estimates of a window that are on their way."""

    def result(self) -> Samples:
        """(1, estimates, samples), once they are there."""

    def stop(self) -> None:
        """Nobody waits for them any more."""


@dataclass(frozen=True)
class Known:
    """Estimates (1, estimates, samples) that are there already."""

    estimates: Samples

    def result(self) -> Samples:
        return self.estimates

    def stop(self) -> None:
        pass


class Stitches(Protocol):
    """Puts the windows of a recording together, one after the other."""

    def push(self, mixture: Samples, estimates: Samples) -> Samples:
        """A window (samples,) and its estimates (estimates, samples) -> its tracks (tracks, samples)."""


class LongSeparation:
    """A long mixture in blocks in, its tracks out, by way of overlapping windows.

    Parameters
    ----------
    window, overlap
        Samples of a window, and those that neighbours share.
    sample_rate
        Hz.
    separate
        Begins to separate a window (1, samples).
    stitcher
        Puts estimates onto tracks.
    n_tracks
        How many there are.
    at_once
        Windows under way side by side.
    """

    def __init__(
        self,
        window: int,
        overlap: int,
        sample_rate: int,
        separate: Callable[[Samples], Pending],
        stitcher: Stitches,
        n_tracks: int,
        at_once: int = 1,
    ) -> None:
        self._splitter, self._joiner = WindowSplitter(window, overlap), WindowJoiner(overlap)
        self._separate, self._stitcher = separate, stitcher
        self._sample_rate, self._n_tracks, self._at_once = sample_rate, n_tracks, at_once
        self._under_way: deque[tuple[Samples, Samples, Pending]] = deque()

    def push(self, mixture: Samples) -> Samples:
        """The next samples (1, samples) -> as many of the tracks (tracks, samples) as are ready."""
        return self._tracks(self._splitter.push(mixture))

    def finish(self) -> Samples:
        """The rest of the tracks (tracks, samples)."""
        rest = [self._tracks(self._splitter.finish()), *self._stitched(0), self._joiner.finish(self._n_tracks)]
        return np.concatenate(rest, axis=1)

    def stop(self) -> None:
        """Give up what is under way."""
        while self._under_way:
            self._under_way.popleft()[2].stop()

    def _tracks(self, windows: Iterable[Samples]) -> Samples:
        tracks = [np.zeros((self._n_tracks, 0), np.float32)]
        for window in windows:
            gain = gain_over_knocks(window[0], self._sample_rate)
            self._under_way.append((window[0] * gain, gain, self._separate(window * gain)))
            tracks.extend(self._stitched(self._at_once - 1))
        return np.concatenate(tracks, axis=1)

    def _stitched(self, left: int) -> Iterable[Samples]:
        """What is ready once at most so many windows are left under way."""
        while len(self._under_way) > left:
            mixture, gain, estimates = self._under_way[0]
            tracks = self._stitcher.push(mixture, estimates.result()[0]) / gain
            self._under_way.popleft()
            yield self._joiner.push(tracks)


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


def gain_over_knocks(window: Samples, sample_rate: int) -> Samples:
    """Gains (samples,) that bring peaks far above the sustained level of a window (samples,) down to it.

    1 everywhere, unless there are such peaks; they change over frames of 10 ms.
    """
    frame = round(FRAME_S * sample_rate)
    frames = np.pad(window, (0, -window.size % frame)).reshape(-1, frame)
    levels = np.sort(np.sqrt(np.square(frames).mean(1)))
    sustained = levels[-min(len(levels), round(SUSTAINED_S / FRAME_S))]
    peaks = np.abs(frames).max(1)
    gains = np.clip(ABOVE * sustained / np.maximum(peaks, 1e-30), LOWEST_GAIN, 1)
    at_edges = np.minimum(np.append(gains, 1), np.append(1, gains))
    at_samples: NDArray[np.float64] = np.interp(np.arange(window.size) / frame, np.arange(len(at_edges)), at_edges)
    return at_samples.astype(np.float32)
