"""A recording that comes in blocks, separated as it comes: resample, window, separate, stitch, resample back."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unbabble.audio import RATES_HZ, SHORTEST_S, Resampler, check_numbers
from unbabble.errors import AudioError
from unbabble.inference.windows import WindowJoiner, WindowSplitter
from unbabble.tracking.activity import Turn
from unbabble.tracking.stitch import Stitcher

if TYPE_CHECKING:
    from unbabble.inference.separator import Separator

Samples = NDArray[np.float32]

RESAMPLING_S = 0.1  # that both resamplers hold back, at most


class Stream:
    """Blocks of a recording in, blocks of its tracks out; made by ``Separator.stream``.

    n_tracks: how many there are; delay_s: a sample comes back, at the latest, once so much more of the recording has
    been pushed: a window, or ``at_once`` of them where so many are separated side by side. heard: the tracks
    (0-based) in which anybody talks, and turns: who talks when, as far as tracks have come back.

    >>> stream = Separator().stream(sample_rate=48000)  # doctest: +SKIP
    >>> tracks = stream.push(block)  # doctest: +SKIP
    """

    def __init__(
        self, separator: "Separator", sample_rate: int, n_sources: int | None = None, at_once: int = 1
    ) -> None:
        if not RATES_HZ[0] <= sample_rate <= RATES_HZ[1]:
            raise AudioError(f"sample rate {sample_rate} Hz; expected 8000 to 192000 Hz; resample it first")
        if at_once < 1:
            raise ValueError(f"at_once must be at least 1, not {at_once}")
        model = separator.model
        window, overlap = (round(length * model.sample_rate) for length in (separator.window_s, separator.overlap_s))
        self.sample_rate, self.n_tracks = sample_rate, model.n_tracks(n_sources)
        self.delay_s = separator.window_s * at_once + RESAMPLING_S * (sample_rate != model.sample_rate)
        self._engine, self._at_once = separator.engine, at_once
        self._under_way: deque[tuple[Samples, Future[Samples]]] = deque()
        self._to_model, self._from_model = (
            Resampler(sample_rate, model.sample_rate),
            Resampler(model.sample_rate, sample_rate),
        )
        self._splitter, self._joiner = WindowSplitter(window, overlap), WindowJoiner(overlap)
        self._stitcher = Stitcher(self.n_tracks, model.sample_rate, overlap, separator.listener)
        self._n_in = self._n_out = 0
        self._finished = False

    def push(self, block: ArrayLike) -> Samples:
        """The next samples, (samples,) or (1, samples), full scale 1 -> (n_tracks, samples), as many as are ready.

        Raises AudioError where samples are not fit, ValueError after ``finish``.
        """
        self._check_open()
        samples = checked_samples(block)
        self._n_in += samples.shape[1]
        tracks = self._separated(self._splitter.push(self._to_model.push(samples)))
        return self._fitted(self._from_model.push(tracks))

    def finish(self) -> Samples:
        """The rest of the tracks: in all as many samples as were pushed. Raises AudioError where they are too few."""
        self._check_open()
        self._finished = True
        windows = self._splitter.push(self._to_model.finish()) if self._n_in else []
        tracks = self._separated([*windows, *self._splitter.finish()])
        ended = np.concatenate([tracks, *self._stitched(0), self._joiner.finish(self.n_tracks)], axis=1)
        rest = np.concatenate([self._from_model.push(ended), self._from_model.finish()], axis=1)
        if self._n_in < SHORTEST_S * self.sample_rate:
            raise AudioError(
                f"too short: {self._n_in} samples; expected at least {SHORTEST_S * 1000:.0f} ms of audio; "
                "record it again"
            )
        rest = self._fitted(rest)
        missing = np.zeros((self.n_tracks, self._n_in - self._n_out), np.float32)
        return np.concatenate([rest, missing], axis=1)

    @property
    def heard(self) -> tuple[int, ...]:
        """The tracks in which somebody talks."""
        return tuple(sorted({turn.speaker for turn in self.turns}))

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who has talked when, so far, in order of their start."""
        return self._stitcher.turns

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("the stream is finished; begin another with Separator.stream")

    def _separated(self, windows: Iterable[Samples]) -> Samples:
        joined = [np.zeros((self.n_tracks, 0), np.float32)]
        for window in windows:
            self._under_way.append((window[0], self._engine.submit(window, self.n_tracks)))
            joined.extend(self._stitched(self._at_once - 1))
        return np.concatenate(joined, axis=1)

    def _stitched(self, left: int) -> Iterable[Samples]:
        """The next blocks of the tracks, until so many windows are left under way."""
        while len(self._under_way) > left:
            mixture, estimates = self._under_way.popleft()
            yield self._joiner.push(self._stitcher.push(mixture, estimates.result()[0]))

    def _fitted(self, tracks: Samples) -> Samples:
        """No more of the tracks than was pushed: resampling may give a sample too many."""
        tracks = tracks[:, : self._n_in - self._n_out]
        self._n_out += tracks.shape[1]
        return tracks


def checked_samples(block: ArrayLike) -> Samples:
    """One channel, (samples,) or (1, samples), of floats as (1, samples). Raises AudioError for anything else."""
    array = np.asarray(block)
    if array.ndim not in (1, 2) or (array.ndim == 2 and len(array) != 1):
        raise AudioError(f"samples of shape {array.shape}; expected one channel, (n_samples,); average the others")
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"samples of type {array.dtype}; expected floats of full scale 1; divide them first")
    check_numbers(array)
    return np.atleast_2d(array).astype(np.float32)
