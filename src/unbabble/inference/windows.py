"""A long signal as overlapping windows, each of which is separated, and separated windows as long tracks."""

from collections import deque
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class Separated:
    """A window of a recording: mixture (samples,), estimates (estimates, samples), and the gain (samples,) over
    knocks that both have been through."""

    mixture: Samples
    estimates: Samples
    gain: Samples


class SeparatedWindows:
    """A long mixture in blocks in, its overlapping windows out, separated, in order.

    Parameters
    ----------
    window, overlap
        Samples of a window, and those that neighbours share.
    sample_rate
        Hz.
    separate
        Begins to separate a window (1, samples).
    at_once
        Windows under way side by side.
    """

    def __init__(
        self, window: int, overlap: int, sample_rate: int, separate: Callable[[Samples], Pending], at_once: int = 1
    ) -> None:
        self._splitter = WindowSplitter(window, overlap)
        self._separate, self._sample_rate, self._at_once = separate, sample_rate, at_once
        self._under_way: deque[tuple[Samples, Samples, Pending]] = deque()

    def push(self, mixture: Samples) -> Iterator[Separated]:
        """With the next samples (1, samples), the windows that are ready."""
        for window in self._splitter.push(mixture):
            yield from self._begin(window)

    def finish(self) -> Iterator[Separated]:
        """The rest of the windows."""
        for window in self._splitter.finish():
            yield from self._begin(window)
        yield from self._ready(0)

    def stop(self) -> None:
        """Give up what is under way."""
        while self._under_way:
            self._under_way.popleft()[2].stop()

    def _begin(self, window: Samples) -> Iterator[Separated]:
        gain = gain_over_knocks(window[0], self._sample_rate)
        self._under_way.append((window[0] * gain, gain, self._separate(window * gain)))
        yield from self._ready(self._at_once - 1)

    def _ready(self, left: int) -> Iterator[Separated]:
        """What is ready once at most so many windows are left under way."""
        while len(self._under_way) > left:
            mixture, gain, pending = self._under_way[0]
            estimates = pending.result()[0]
            self._under_way.popleft()
            yield Separated(mixture, estimates, gain)


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

    def finish(self) -> Samples | None:
        """The end of the last window: (tracks, samples); None where there was none."""
        return self._tail


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
