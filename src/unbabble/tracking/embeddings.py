"""Speaker embeddings: those of the talkers so far, and new ones by clustering (k-means)."""

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S

Array = NDArray[np.float32]
Numbers = NDArray[np.intp]

AROUND_S = 0.6  # to each side: an embedding is averaged over so much speech
REMEMBERED_S = 60.0  # of speech; what is older fades
NEEDED_S = 1.0  # of speech before a cluster is believed to be another talker's
ANOTHER = 0.33  # cosine: the best split in two of one talker's speech lies above it, that of two talkers' below
STRANGE_S = 3.0  # of speech of a window,
STRANGE = 0.6  # and the cosine of all of it and a known embedding, below which it is another's
HINTED_S = 0.5  # of speech, where estimates tell talkers apart,
HINTED = 0.45, 0.6  # and the cosine then: the first, and more by the second for the fraction of several at once
PERHAPS, SURELY = 0.1, 0.25  # fraction of several at once that is another talker: if the embedding is, in any case
STARTS, ROUNDS = 8, 6  # of k-means


def unit(vectors: Array) -> Array:
    """Scaled to length 1 along the last axis; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def averaged(embeddings: Array, speech: NDArray[np.bool_]) -> Array:
    """Mean embeddings (frames, embedding), of length 1, of the speech around each frame of speech; else zeros."""
    reach = round(AROUND_S / FRAME_S)
    sums = np.cumsum(np.pad(embeddings * speech[:, None], ((reach + 1, reach), (0, 0))), axis=0, dtype=np.float64)
    means = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]).astype(np.float32)
    return unit(means) * speech[:, None]


def updated(talkers: Array, embeddings: Array, active: Numbers) -> Array:
    """Embeddings of the talkers (tracks, embedding), moved half way to those of their active frames."""
    changed = talkers.copy()
    for track in range(len(talkers)):
        if (mine := embeddings[active == track]).any():
            changed[track] = unit(talkers[track] + unit(mine.sum(0)))
    return changed


class Talkers:
    """The embeddings of the talkers of a recording, by their track."""

    def __init__(self, n_tracks: int, embedding_size: int) -> None:
        self._sums = np.zeros((n_tracks, embedding_size), np.float32)
        self._speech_s = np.zeros(n_tracks)

    def update(self, embeddings: Array, active: Numbers) -> None:
        """Take in embeddings (frames, embedding) and the active speakers (frames,) that they are of."""
        for track in range(len(self._sums)):
            mine = embeddings[active == track]
            self._sums[track] += mine.sum(0)
            self._speech_s[track] += len(mine) * FRAME_S
            if self._speech_s[track] > REMEMBERED_S:
                self._sums[track] *= REMEMBERED_S / self._speech_s[track]
                self._speech_s[track] = REMEMBERED_S

    def with_newcomers(self, one: Array, loudest: Numbers, several: Array) -> Array:
        """Embeddings (tracks, embedding) of the talkers known and of those found in new speech; zeros for nobody.

        one: embeddings (frames, embedding) where one talks; loudest (frames,): the loudest estimate there; several
        (estimates, frames, embedding): of the estimates where several talk. A talker with little speech so far gives
        place to a newcomer.
        """
        talkers = unit(self._sums)
        overlap = several.shape[1] / max(1, len(one) + several.shape[1])
        groups = [one[loudest == row] for row in range(len(several))]
        hints = [unit(group.sum(0)) for group in groups if len(group) * FRAME_S >= HINTED_S]
        for track in sorted(np.flatnonzero(self._speech_s < NEEDED_S), key=lambda track: -self._speech_s[track]):
            if len(one):
                talkers = _with_newcomer(talkers, int(track), one, hints, HINTED[0] + HINTED[1] * overlap)
        if several.shape[1] * FRAME_S >= NEEDED_S and overlap >= PERHAPS:
            talkers = _with_never_alone(talkers, unit(several.sum(1)), sure=overlap >= SURELY)
        new = np.flatnonzero((self._speech_s == 0) & talkers.any(1))
        return _changed(talkers, list(new), talkers[_by_appearance(talkers, new, one)])


def _with_newcomer(talkers: Array, track: int, embeddings: Array, hints: list[Array], limit: float) -> Array:
    """One more talker, at ``track``, if the embeddings have a cluster of their own; if not, the talkers as they are.

    hints: mean embeddings of the speech in which each estimate is the loudest. Networks split one talker among their
    estimates at random, so that the hints are then alike (above the limit).
    """
    rows = [int(row) for row in np.flatnonzero(talkers.any(1)) if row != track]
    if not rows:
        return _changed(talkers, [track], unit(embeddings.sum(0))[None])
    others = talkers[rows]
    whole = unit(embeddings.sum(0))
    if len(embeddings) * FRAME_S >= STRANGE_S and (others @ whole).max() < STRANGE:
        return _changed(talkers, [track], whole[None])
    for hint in hints:
        if min(hint @ other for other in hints) < limit and (found := _split(others, embeddings, hint, HINTED_S)):
            return _changed(talkers, [*rows, track], found[0])
    tried = [
        _split(others, embeddings, start, NEEDED_S) for start in embeddings[:: max(1, len(embeddings) // STARTS)]
    ]
    centres, _ = max((split for split in tried if split), key=lambda split: split[1], default=(None, 0.0))
    if centres is None or (centres[:-1] @ centres[-1]).max() > ANOTHER:
        return talkers
    return _changed(talkers, [*rows, track], centres)


def _split(others: Array, embeddings: Array, newcomer: Array, needed_s: float) -> tuple[Array, float] | None:
    """K-means: centres, the newcomer's the last, and how well they fit; None where the newcomer says too little."""
    centres = np.vstack([others, newcomer])
    for _ in range(ROUNDS):
        nearest = (embeddings @ centres.T).argmax(1)
        if (nearest == len(others)).sum() * FRAME_S < needed_s:
            return None
        for row in range(len(centres)):
            if (nearest == row).any():
                centres[row] = unit(embeddings[nearest == row].sum(0))
    return centres, float((embeddings @ centres.T).max(1).mean())


def _with_never_alone(talkers: Array, estimates: Array, sure: bool) -> Array:
    """Those who never talk alone, by the embeddings of the estimates (estimates, embedding)."""
    talkers = talkers.copy()
    for track in np.flatnonzero(~talkers.any(1)):
        likeness = (estimates @ talkers.T).max(1)
        if sure or likeness.min() < ANOTHER:
            talkers[track] = estimates[likeness.argmin()]
    return talkers


def _by_appearance(talkers: Array, rows: Numbers, embeddings: Array) -> Numbers:
    """The rows of talkers, first that of whoever talks alone first."""
    nearest = (embeddings @ talkers.T).argmax(1)
    first = [np.append(np.flatnonzero(nearest == row), len(embeddings))[0] for row in rows]
    return rows[np.argsort(first, kind="stable")]


def _changed(talkers: Array, rows: list[int], embeddings: Array) -> Array:
    changed = talkers.copy()
    changed[rows] = embeddings
    return changed
