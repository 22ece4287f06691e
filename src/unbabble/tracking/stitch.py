"""Separated windows, put together so that every talker stays on one track."""

import itertools
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S, Turn, frame_power, smooth, turns_of
from unbabble.tracking.embeddings import Talkers, averaged, updated
from unbabble.tracking.viterbi import SEVERAL, SILENT, Assignment, Observations, Weights, decode

Samples = NDArray[np.float32]
Numbers = NDArray[np.intp]

LOUDER_DB = 10.0  # by which one estimate is plainly louder than another,
APART_DB = 20.0  # and so much that the other holds nothing of its talker
PRIOR_S = 4.0  # of speech, as if estimates had been apart in it
KEPT_FRAMES = 2  # of silence beside speech
ROUNDS = 2  # of decoding, and of updating the embeddings by it
MOST_PERMUTED = 4  # tracks, all permutations of which are tried


class Diarizer(Protocol):
    """Who counts the active speakers of a frame, and tells them apart."""

    @property
    def embedding_size(self) -> int:
        """Dimensions of the embeddings."""

    def __call__(self, signals: Samples, sample_rate: int) -> tuple[Samples, Samples]:
        """Signals (rows, samples) -> log-probabilities of no, one and more talkers in each frame of 40 ms, (rows,
        frames, 3), and embeddings (rows, frames, embedding)."""


class Stitcher:
    """Separated windows in, in order; tracks with one talker each, silent where that talker is silent, out.

    In every frame a diarizer counts the active speakers and gives embeddings. Where one is active, the mixture is
    that talker's track, whatever the network made of it; where several are, estimates go to the talkers with the
    most similar embeddings.
    overlap: samples that a window shares with the one before.
    """

    def __init__(
        self, n_tracks: int, sample_rate: int, overlap: int, diarizer: Diarizer, weights: Weights | None = None
    ) -> None:
        self._sample_rate, self._frame = sample_rate, round(FRAME_S * sample_rate)
        self._overlap, self._diarizer, self._weights = overlap, diarizer, weights or Weights()
        self._talkers = Talkers(n_tracks, diarizer.embedding_size)
        self._tail = np.zeros((n_tracks, 0), np.float32)  # of the permuted estimates of the window before
        self._earlier = np.zeros(0, np.intp)  # active speakers by that window where it overlaps this one
        self._n_samples = self._n_seen = 0  # of the recording, before the window and to its end
        self._active = np.zeros((n_tracks, 0), bool)

    def push(self, mixture: Samples, estimates: Samples) -> Samples:
        """A window (samples,) and its estimates (estimates, samples) -> its tracks (n_tracks, samples)."""
        embeddings, assignment, talkers = self._assign(mixture, estimates)
        known = np.asarray(talkers.any(1))
        self._remember(embeddings, assignment, known, estimates)
        weights = weights_of(assignment, known, len(estimates))
        return mix(weights, np.vstack([mixture, estimates]), self._frame)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who has talked when, in order of their start."""
        active = np.stack([smooth(row) for row in self._active])
        end_s = self._n_seen / self._sample_rate
        return tuple(replace(turn, end_s=min(turn.end_s, end_s)) for turn in turns_of(active))

    def _assign(self, mixture: Samples, estimates: Samples) -> tuple[Samples, Assignment, Samples]:
        """Embeddings (frames, embedding), assignment, and the talkers' embeddings: the last two refine each other."""
        n_frames = -(-mixture.size // self._frame)
        counts, described = self._diarizer(np.vstack([mixture, estimates]), self._sample_rate)
        counts, described = counts[0, :n_frames], described[:, :n_frames]
        one, several = (counts.argmax(1) == count for count in (1, 2))
        embeddings = averaged(described[0], one)
        of_estimates = np.stack([averaged(row, several) for row in described[1:]])
        levels = levels_db(estimates, self._frame)
        louder, apart = plainly_louder(levels), fraction_apart(levels, one)
        permutations = candidate_permutations(self._tail, estimates)
        correlation = correlation_by_frame(self._tail, estimates, permutations, self._frame)
        earlier = self._earlier[:n_frames]
        talkers = self._talkers.with_newcomers(embeddings[one], louder[:, one].argmax(0), of_estimates[:, several])
        for _ in range(ROUNDS):
            seen = Observations(
                counts, embeddings, of_estimates, louder, apart, permutations, correlation, earlier, talkers
            )
            assignment = decode(seen, self._weights)
            talkers = updated(talkers, embeddings, assignment.active)
        return embeddings, assignment, talkers

    def _remember(
        self, embeddings: Samples, assignment: Assignment, known: NDArray[np.bool_], estimates: Samples
    ) -> None:
        first = round(self._n_samples / self._frame)
        new = round(self._overlap / 2 / self._frame) if first else 0  # frames before are the last window's
        self._talkers.update(embeddings[new:], assignment.active[new:])
        active = assignment.active == np.arange(len(known))[:, None]
        active |= known[:, None] & (assignment.active == SEVERAL)
        self._active = np.concatenate([self._active[:, : first + new], active[:, new:]], axis=1)
        step = max(0, estimates.shape[1] - self._overlap)
        self._tail = estimates[assignment.permutations[-1], step:]
        self._earlier = assignment.active[round(step / self._frame) :]
        self._n_seen = self._n_samples + estimates.shape[1]
        self._n_samples += step


def levels_db(estimates: Samples, frame: int) -> Samples:
    """Of each frame: (estimates, samples) -> (estimates, frames)."""
    return np.asarray(10 * np.log10(frame_power(estimates, frame) + 1e-12), np.float32)


def plainly_louder(levels: Samples) -> Samples:
    """Levels (estimates, frames) in dB -> 1 where one is plainly louder than all others, -1 where one of those is."""
    if len(levels) == 1:
        return np.ones_like(levels)
    loudest_other = np.stack([np.delete(levels, row, axis=0).max(0) for row in range(len(levels))])
    return np.asarray(((levels - loudest_other) / LOUDER_DB).clip(-1, 1), np.float32)


def fraction_apart(levels: Samples, one: NDArray[np.bool_]) -> float:
    """Fraction of the speech in which estimates are apart: levels (estimates, frames) in dB, one (frames,)."""
    if len(levels) == 1:
        return 1.0
    second, first = np.sort(levels, axis=0)[-2:]
    prior = PRIOR_S / FRAME_S
    n_apart = np.count_nonzero((first - second >= APART_DB) & one)
    return (n_apart + prior) / (np.count_nonzero(one) + prior)


def weights_of(assignment: Assignment, known: NDArray[np.bool_], n_estimates: int) -> Samples:
    """Weights of the mixture, the first signal, and the estimates in each track: (tracks, 1 + estimates, frames).

    known: the tracks that have a talker.
    """
    n_frames, n_tracks = assignment.permutations.shape
    weights = np.zeros((n_tracks, 1 + n_estimates, n_frames), np.float32)
    frames, active = np.arange(n_frames), spread(assignment.active)
    for track in np.flatnonzero(known):
        alone = active == track
        estimated = (active == SEVERAL) | (alone & assignment.steady)
        weights[track, 0] = alone & ~estimated
        weights[track, 1 + assignment.permutations[:, track], frames] = estimated
    return weights


def spread(active: Numbers) -> Numbers:
    """Speech that begins a little earlier and ends a little later, so that its soft edges are kept."""
    for _ in range(KEPT_FRAMES):
        before, after = np.append(SILENT, active[:-1]), np.append(active[1:], SILENT)
        active = np.where(active != SILENT, active, np.where(before != SILENT, before, after))
    return active


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


def candidate_permutations(tail: Samples, estimates: Samples) -> Numbers:
    """Permutations (permutations, tracks) of estimates (estimates, samples): estimate ``permutation[track]`` is the
    track's. All, or where those are too many the one whose beginning correlates best with the ``tail`` (tracks,
    samples) of the window before."""
    n_tracks, n_estimates = len(tail), len(estimates)
    if n_tracks != n_estimates:
        return np.arange(n_tracks)[None]
    if n_tracks <= MOST_PERMUTED:
        return np.array(list(itertools.permutations(range(n_tracks))))
    return np.array([best_permutation(tail, estimates[:, : tail.shape[1]])])


def best_permutation(before: Samples, after: Samples) -> tuple[int, ...]:
    """Permutation p for which before[i] and after[p[i]], both (tracks, samples), correlate best in sum."""
    products = before.astype(np.float64) @ after.T.astype(np.float64)
    rows = np.arange(len(products))
    permutations = list(itertools.permutations(range(len(products))))
    return permutations[int(np.argmax([products[rows, permutation].sum() for permutation in permutations]))]


def correlation_by_frame(tail: Samples, estimates: Samples, permutations: Numbers, frame: int) -> Samples:
    """Correlation of the tail of the window before and the permuted estimates, -1 to 1: (permutations, frames)."""
    n_frames = min(tail.shape[1], estimates.shape[1]) // frame
    before, after = (
        signals[:, : n_frames * frame].reshape(len(signals), n_frames, frame) for signals in (tail, estimates)
    )
    products = np.einsum("tfs,efs->fte", before, after)
    power = (np.square(before).sum((0, 2)) + np.square(after).sum((0, 2))) / 2 + 1e-9
    tracks = np.arange(len(tail))
    return np.stack([products[:, tracks, permutation].sum(1) / power for permutation in permutations])
