"""Voices as directions: which talkers have been heard, and which new ones a stretch of speech reveals."""

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S

Array = NDArray[np.float32]
Numbers = NDArray[np.intp]

AROUND_S = 0.6  # to each side: a voice is heard over so much of its speech
REMEMBERED_S = 60.0  # of speech; what is older fades
NEEDED_S = 1.0  # of speech before a voice is believed to be another talker's
ANOTHER = 0.33  # cosine: the best split in two of one talker's speech lies above it, that of two talkers' below
STRANGE_S = 3.0  # of speech of a window,
STRANGE = 0.6  # and the cosine of all of it and a known voice, below which it is another's
HINTED_S = 0.5  # of speech, where estimates tell voices apart,
HINTED = 0.45, 0.6  # and the cosine then: the first, and more by the second for the share of several at once
PERHAPS, SURELY = 0.1, 0.25  # share of several at once that is another talker: if the voice is, in any case
STARTS, ROUNDS = 8, 6  # of k-means


def unit(vectors: Array) -> Array:
    """Scaled to length 1 along the last axis; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def around(voices: Array, speech: NDArray[np.bool_]) -> Array:
    """Directions (frames, voice) of the speech around each frame of speech; zeros for the others."""
    reach = round(AROUND_S / FRAME_S)
    sums = np.cumsum(np.pad(voices * speech[:, None], ((reach + 1, reach), (0, 0))), axis=0, dtype=np.float64)
    means = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]).astype(np.float32)
    return unit(means) * speech[:, None]


def turned(talkers: Array, voices: Array, who: Numbers) -> Array:
    """Directions of the talkers (tracks, voice), turned half way to how they sound in these frames."""
    changed = talkers.copy()
    for track in range(len(talkers)):
        if (mine := voices[who == track]).any():
            changed[track] = unit(talkers[track] + unit(mine.sum(0)))
    return changed


class Talkers:
    """The voices of the talkers of a recording, by their track."""

    def __init__(self, n_tracks: int, voice_size: int) -> None:
        self._sums = np.zeros((n_tracks, voice_size), np.float32)
        self._heard_s = np.zeros(n_tracks)

    def hear(self, voices: Array, who: Numbers) -> None:
        """Remember speech: directions (frames, voice), and whose they are (frames,)."""
        for track in range(len(self._sums)):
            mine = voices[who == track]
            self._sums[track] += mine.sum(0)
            self._heard_s[track] += len(mine) * FRAME_S
            if self._heard_s[track] > REMEMBERED_S:
                self._sums[track] *= REMEMBERED_S / self._heard_s[track]
                self._heard_s[track] = REMEMBERED_S

    def with_newcomers(self, one: Array, loudest: Numbers, several: Array) -> Array:
        """Directions (tracks, voice) of the talkers known and of those that the speech reveals; zeros for nobody.

        one: directions (frames, voice) where one talks, and loudest: which estimate is the loudest there; several:
        directions of the estimates (estimates, frames, voice) where several talk. Somebody of whom little has been
        heard gives place to a newcomer.
        """
        talkers = unit(self._sums)
        share = several.shape[1] / max(1, len(one) + several.shape[1])
        groups = [one[loudest == row] for row in range(len(several))]
        hints = [unit(group.sum(0)) for group in groups if len(group) * FRAME_S >= HINTED_S]
        for track in sorted(np.flatnonzero(self._heard_s < NEEDED_S), key=lambda track: -self._heard_s[track]):
            if len(one):
                talkers = _with_newcomer(talkers, int(track), one, hints, HINTED[0] + HINTED[1] * share)
        if several.shape[1] * FRAME_S >= NEEDED_S and share >= PERHAPS:
            talkers = _with_unheard_alone(talkers, unit(several.sum(1)), sure=share >= SURELY)
        new = np.flatnonzero((self._heard_s == 0) & talkers.any(1))
        return _changed(talkers, list(new), talkers[_by_appearance(talkers, new, one)])


def _with_newcomer(talkers: Array, track: int, voices: Array, hints: list[Array], limit: float) -> Array:
    """One more talker, at ``track``, if the voices hold one; if not, the talkers as they are.

    hints: directions of the speech in which each estimate is the loudest. Networks share one talker out among their
    estimates at random, so that the hints are then alike (above the limit).
    """
    rows = [int(row) for row in np.flatnonzero(talkers.any(1)) if row != track]
    if not rows:
        return _changed(talkers, [track], unit(voices.sum(0))[None])
    others = talkers[rows]
    whole = unit(voices.sum(0))
    if len(voices) * FRAME_S >= STRANGE_S and (others @ whole).max() < STRANGE:
        return _changed(talkers, [track], whole[None])
    for hint in hints:
        if min(hint @ other for other in hints) < limit and (found := _split(others, voices, hint, HINTED_S)):
            return _changed(talkers, [*rows, track], found[0])
    tried = [_split(others, voices, start, NEEDED_S) for start in voices[:: max(1, len(voices) // STARTS)]]
    centres, _ = max((split for split in tried if split), key=lambda split: split[1], default=(None, 0.0))
    if centres is None or (centres[:-1] @ centres[-1]).max() > ANOTHER:
        return talkers
    return _changed(talkers, [*rows, track], centres)


def _split(others: Array, voices: Array, newcomer: Array, needed_s: float) -> tuple[Array, float] | None:
    """K-means: centres, the newcomer's the last, and how well they fit; None where the newcomer says too little."""
    centres = np.vstack([others, newcomer])
    for _ in range(ROUNDS):
        nearest = (voices @ centres.T).argmax(1)
        if (nearest == len(others)).sum() * FRAME_S < needed_s:
            return None
        for row in range(len(centres)):
            if (nearest == row).any():
                centres[row] = unit(voices[nearest == row].sum(0))
    return centres, float((voices @ centres.T).max(1).mean())


def _with_unheard_alone(talkers: Array, estimates: Array, sure: bool) -> Array:
    """Those who never talk alone, by the directions of the estimates (estimates, voice)."""
    talkers = talkers.copy()
    for track in np.flatnonzero(~talkers.any(1)):
        likeness = (estimates @ talkers.T).max(1)
        if sure or likeness.min() < ANOTHER:
            talkers[track] = estimates[likeness.argmin()]
    return talkers


def _by_appearance(talkers: Array, rows: Numbers, voices: Array) -> Numbers:
    """The rows of talkers, that of whoever is heard alone first first."""
    nearest = (voices @ talkers.T).argmax(1)
    first = [np.append(np.flatnonzero(nearest == row), len(voices))[0] for row in rows]
    return rows[np.argsort(first, kind="stable")]


def _changed(talkers: Array, rows: list[int], directions: Array) -> Array:
    changed = talkers.copy()
    changed[rows] = directions
    return changed
