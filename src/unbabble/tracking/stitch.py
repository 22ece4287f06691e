"""Separated windows, put together so that every talker stays on one track."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S, Turn, frame_power, smooth, turns_of
from unbabble.tracking.decide import (
    SEVERAL,
    SILENT,
    Decision,
    Evidence,
    Weights,
    agreement_of,
    decide,
    orders_to_try,
)
from unbabble.tracking.listener import Listener
from unbabble.tracking.voices import Talkers, around, turned

Samples = NDArray[np.float32]
Numbers = NDArray[np.intp]

LOUDER_DB = 10.0  # by which one estimate is plainly louder than another,
APART_DB = 20.0  # and so much that the other holds nothing of its talker
BELIEVED_S = 4.0  # of speech, as if estimates had been apart in it: what is believed of them beforehand
KEPT_FRAMES = 2  # of silence beside speech
ROUNDS = 2  # of deciding who talks, and hearing how they sound


class Stitcher:
    """Separated windows in, in order; tracks with one talker each, silent where that talker is silent, out.

    In every frame a listener tells how many talk and whose voices they are. Where one talks, the mixture is
    what that talker says, whatever the network made of it; where several do, estimates go to those whose voices
    they have.
    overlap: samples that a window shares with the one before.
    """

    def __init__(
        self, n_tracks: int, sample_rate: int, overlap: int, listener: Listener, weights: Weights | None = None
    ) -> None:
        self._sample_rate, self._frame = sample_rate, round(FRAME_S * sample_rate)
        self._overlap, self._listener, self._weights = overlap, listener, weights or Weights()
        self._talkers = Talkers(n_tracks, listener.voice_size)
        self._tail = np.zeros((n_tracks, 0), np.float32)  # of the estimates of the window before, in their order
        self._earlier = np.zeros(0, np.intp)  # what that window decided for the beginning of this one
        self._n_samples = self._n_heard = 0  # of the recording, before the window and to its end
        self._talking = np.zeros((n_tracks, 0), bool)

    def push(self, mixture: Samples, estimates: Samples) -> Samples:
        """A window (samples,) and its estimates (estimates, samples) -> its tracks (n_tracks, samples)."""
        voices, decision, talkers = self._decide(mixture, estimates)
        known = np.asarray(talkers.any(1))
        self._remember(voices, decision, known, estimates)
        weights = weights_of(decision, known, len(estimates))
        return mix(weights, np.vstack([mixture, estimates]), self._frame)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who has talked when, by the start."""
        talking = np.stack([smooth(row) for row in self._talking])
        end_s = self._n_heard / self._sample_rate
        return tuple(replace(turn, end_s=min(turn.end_s, end_s)) for turn in turns_of(talking))

    def _decide(self, mixture: Samples, estimates: Samples) -> tuple[Samples, Decision, Samples]:
        """Voices (frames, voice), who talks, and the talkers' directions: each helps to find the other."""
        n_frames = -(-mixture.size // self._frame)
        heard, described = self._listener(np.vstack([mixture, estimates]), self._sample_rate)
        counts, described = heard[0, :n_frames], described[:, :n_frames]
        one, several = (counts.argmax(1) == count for count in (1, 2))
        voices, of_estimates = around(described[0], one), np.stack([around(row, several) for row in described[1:]])
        levels = levels_db(estimates, self._frame)
        louder, apart = plainly_louder(levels), share_apart(levels, one)
        orders = orders_to_try(self._tail, estimates)
        agreement, earlier = agreement_of(self._tail, estimates, orders, self._frame), self._earlier[:n_frames]
        talkers = self._talkers.with_newcomers(voices[one], louder[:, one].argmax(0), of_estimates[:, several])
        for _ in range(ROUNDS):
            evidence = Evidence(counts, voices, of_estimates, louder, apart, orders, agreement, earlier, talkers)
            decision = decide(evidence, self._weights)
            talkers = turned(talkers, voices, decision.who)
        return voices, decision, talkers

    def _remember(self, voices: Samples, decision: Decision, known: NDArray[np.bool_], estimates: Samples) -> None:
        first = round(self._n_samples / self._frame)
        new = round(self._overlap / 2 / self._frame) if first else 0  # frames before are the last window's to decide
        self._talkers.hear(voices[new:], decision.who[new:])
        talking = decision.who == np.arange(len(known))[:, None]
        talking |= known[:, None] & (decision.who == SEVERAL)
        self._talking = np.concatenate([self._talking[:, : first + new], talking[:, new:]], axis=1)
        step = max(0, estimates.shape[1] - self._overlap)
        self._tail = estimates[decision.orders[-1], step:]
        self._earlier = decision.who[round(step / self._frame) :]
        self._n_heard = self._n_samples + estimates.shape[1]
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


def share_apart(levels: Samples, one: NDArray[np.bool_]) -> float:
    """In how much of the speech estimates are apart: levels (estimates, frames) in dB, one (frames,)."""
    if len(levels) == 1:
        return 1.0
    second, first = np.sort(levels, axis=0)[-2:]
    believed = BELIEVED_S / FRAME_S
    n_apart = np.count_nonzero((first - second >= APART_DB) & one)
    return (n_apart + believed) / (np.count_nonzero(one) + believed)


def weights_of(decision: Decision, known: NDArray[np.bool_], n_estimates: int) -> Samples:
    """What each track takes of the mixture, the first signal, and of the estimates: (tracks, 1 + estimates, frames).

    known: the tracks that have a talker.
    """
    n_frames, n_tracks = decision.orders.shape
    weights = np.zeros((n_tracks, 1 + n_estimates, n_frames), np.float32)
    frames, who = np.arange(n_frames), spread(decision.who)
    for track in np.flatnonzero(known):
        alone = who == track
        estimated = (who == SEVERAL) | (alone & decision.steady)
        weights[track, 0] = alone & ~estimated
        weights[track, 1 + decision.orders[:, track], frames] = estimated
    return weights


def spread(who: Numbers) -> Numbers:
    """Speech that begins a little earlier and ends a little later, so that its soft edges are kept."""
    for _ in range(KEPT_FRAMES):
        before, after = np.append(SILENT, who[:-1]), np.append(who[1:], SILENT)
        who = np.where(who != SILENT, who, np.where(before != SILENT, before, after))
    return who


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
