"""Separated windows, put together so that every person stays on one track."""

import itertools
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S, Turn, frame_power, runs, smooth, turns_of
from unbabble.tracking.parameters import Parameters
from unbabble.tracking.viterbi import APART_DB, NOBODY, Observations, decode

Samples = NDArray[np.float32]
Numbers = NDArray[np.intp]

SILENCE_DB = -120.0  # of no power at all
STEADY_S, MOSTLY = 1.0, 0.1  # an estimate is so for at least so long, but for this fraction of the frames
NOBODY_TALKS = np.array([0.0, -20.0, -20.0], np.float32)  # log-probabilities of no, one and more talkers in silence
KEPT_FRAMES = 2  # of silence beside speech


class Diarizer(Protocol):
    """Who counts the active speakers of a frame, and tells them apart."""

    @property
    def embedding_size(self) -> int:
        """Dimensions of the embeddings."""

    @property
    def parameters(self) -> Parameters:
        """The numbers of tracking that suit it."""

    def __call__(self, signals: Samples, sample_rate: int) -> tuple[Samples, Samples]:
        """Signals (rows, samples) -> log-probabilities of no, one and more talkers in each frame of 40 ms, (rows,
        frames, 3), and embeddings (rows, frames, embedding)."""


class WindowFrames:
    """How the frames of windows lie in the recording. window, overlap: in samples."""

    def __init__(self, sample_rate: int, window: int, overlap: int) -> None:
        self.frame = round(FRAME_S * sample_rate)
        self.step = window - overlap
        self._overlap = round(overlap / self.frame)

    def first(self, number: int) -> int:
        """The first frame of a window."""
        return round(number * self.step / self.frame)

    def unheard(self, number: int) -> slice:
        """The frames of a window that no window before it has."""
        return slice(self._overlap if number else 0, None)

    def decided(self, number: int) -> slice:
        """The frames of a window that it decides: of an overlap, the first half is the earlier window's."""
        return slice(self._overlap // 2 if number else 0, None)


def observe(mixture: Samples, estimates: Samples, sample_rate: int, diarizer: Diarizer) -> Observations:
    """What a diarizer makes of a window (samples,) and its estimates (estimates, samples)."""
    frame = round(FRAME_S * sample_rate)
    n_frames = -(-mixture.size // frame)
    signals = np.vstack([mixture, estimates])
    counts, embeddings = diarizer(signals, sample_rate)
    levels = (10 * np.log10(frame_power(signals, frame) + 10 ** (SILENCE_DB / 10))).astype(np.float32)
    silent = levels[0] < SILENCE_DB + 1
    known = np.where(silent[:, np.newaxis], NOBODY_TALKS, counts[0, :n_frames])
    return Observations(known.astype(np.float32), embeddings[:, :n_frames], levels[1:])


class Stitcher:
    """Separated windows in, in order; tracks with one person each, silent where that person is silent, out.

    Where one person talks, their track is the mixture, or an estimate that plainly has all of them; where several
    do, estimates go to the people with the most similar embeddings.
    """

    def __init__(self, frames: WindowFrames, parameters: Parameters) -> None:
        self._frames, self._parameters = frames, parameters
        self._active: Numbers = np.full((0, 0), NOBODY, np.intp)  # (frames of the recording, estimates)
        self._n_windows = 0

    def push(self, mixture: Samples, estimates: Samples, seen: Observations, people: Samples) -> Samples:
        """A window (samples,), its estimates (estimates, samples) and what is known of it -> the tracks of the people
        (people, embedding): (people, samples)."""
        owners = decode(seen, people, self._parameters)
        new = self._frames.decided(self._n_windows)
        before = self._active[: self._frames.first(self._n_windows) + new.start]
        self._active = np.concatenate([before.reshape(-1, len(estimates)), owners[new]])
        self._n_windows += 1
        weights = weights_of(owners, seen.levels, len(people))
        return mix(weights, np.vstack([mixture, estimates]), self._frames.frame)

    def turns(self, end_s: float) -> tuple[Turn, ...]:
        """Who has talked when, in order of their start. end_s: of the recording."""
        people = np.arange(self._active.max(initial=NOBODY) + 1)
        active = [smooth((self._active == person).any(1)) for person in people]
        turns = turns_of(np.array(active, bool).reshape(len(people), len(self._active)))
        return tuple(replace(turn, end_s=min(turn.end_s, end_s)) for turn in turns)


def weights_of(owners: Numbers, levels: Samples, n_people: int) -> Samples:
    """Weights of the mixture, the first signal, and the estimates in each track: (people, 1 + estimates, frames).

    owners (frames, estimates); levels (estimates, frames) in dB.
    """
    owners = spread(owners)
    tracks = owners == np.arange(n_people)[:, None, None]  # (people, frames, estimates)
    alone = (owners != NOBODY).sum(1) == 1
    estimated = ~alone
    for start, stop in runs(alone) if len(levels) > 1 else []:
        for first, last in _unbroken(owners, start, stop):
            row = int(np.argmax(owners[first] != NOBODY))
            other = np.delete(levels[:, first:last], row, axis=0).max(0)
            steady = (last - first) * FRAME_S >= STEADY_S
            estimated[first:last] = steady and np.quantile(levels[row, first:last] - other, MOSTLY) >= APART_DB
    weights = np.concatenate([(tracks.any(2) & ~estimated)[..., None], tracks & estimated[:, None]], axis=2)
    return weights.transpose(0, 2, 1).astype(np.float32)


def spread(owners: Numbers) -> Numbers:
    """Speech that begins a little earlier and ends a little later, so that its soft edges are kept."""
    nobody = np.full((1, owners.shape[1]), NOBODY)
    for _ in range(KEPT_FRAMES):
        before, after = np.concatenate([nobody, owners[:-1]]), np.concatenate([owners[1:], nobody])
        beside = np.where((before != NOBODY).any(1, keepdims=True), before, after)
        owners = np.where((owners != NOBODY).any(1, keepdims=True), owners, beside)
    return owners


def mix(weights: Samples, signals: Samples, frame: int) -> Samples:
    """Sum signals (signals, samples) by weights (tracks, signals, frames), faded from frame to frame, into tracks."""
    edges = np.concatenate([weights[..., :1], (weights[..., 1:] + weights[..., :-1]) / 2, weights[..., -1:]], axis=-1)
    rising = (np.arange(frame, dtype=np.float32) + 0.5) / frame
    tracks = np.zeros((len(weights), signals.shape[1]), np.float32)
    for track, rows in zip(tracks, edges, strict=True):
        for row, signal in zip(rows, signals, strict=True):
            if row.any():
                gains = row[:-1, None] + (row[1:] - row[:-1])[:, None] * rising
                track += gains.ravel()[: track.size] * signal
    return tracks


def _unbroken(owners: Numbers, start: int, stop: int) -> list[tuple[int, int]]:
    """[first, last) of the stretches of frames from start to stop in which nothing changes."""
    changes = start + 1 + np.flatnonzero((owners[start + 1 : stop] != owners[start : stop - 1]).any(1))
    edges = [start, *(int(change) for change in changes), stop]
    return list(itertools.pairwise(edges))
