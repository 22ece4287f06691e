"""The people of a recording: pieces of speech, clustered by their embeddings."""

import itertools
import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble.errors import ArgumentError
from unbabble.tracking.activity import FRAME_S, runs
from unbabble.tracking.parameters import Parameters
from unbabble.tracking.viterbi import APART_DB, Observations, unit

Array = NDArray[np.float32]
Numbers = NDArray[np.intp]

MOST_PEOPLE = 10
MOST_CLUSTERED = 600  # pieces at once: more are clustered stretch by stretch first
ROUNDS = 5  # of giving every piece to the nearest person, and of moving each person to their pieces
NEVER = -9.0  # instead of a cosine: of those that cannot be one
SPLITTING, MOST_ALIKE = 0.05, 1.5  # steps in which the limit is raised until there are people enough, and its end


@dataclass(frozen=True)
class Bounds:
    """How many people there may be, at least and at most."""

    least: int
    most: int

    @classmethod
    def of(cls, speakers: Any) -> "Bounds":
        """``"auto"``, a number, ``"2-6"`` or ``(2, 6)``. Raises ValueError for anything else."""
        if speakers == "auto":
            return cls(0, MOST_PEOPLE)
        given = tuple(speakers.split("-")) if isinstance(speakers, str) else speakers
        bounds = given if isinstance(given, tuple) else (given,)
        numbers = [
            int(one) if isinstance(one, str) and re.fullmatch(r"\s*\d{1,4}\s*", one) else one for one in bounds
        ]
        told = reprlib.repr(speakers)
        if len(numbers) not in (1, 2) or not all(
            isinstance(n, Integral) and not isinstance(n, bool) for n in numbers
        ):
            raise ArgumentError(f"speakers {told} is not auto, a number, or two such as 2-6")
        least, most = int(numbers[0]), int(numbers[-1])
        if not 1 <= least <= most <= MOST_PEOPLE:
            raise ArgumentError(f"speakers {told} cannot be; expected 1 to {MOST_PEOPLE}, or two such as 2-6")
        return cls(least, most)


@dataclass(frozen=True)
class Pieces:
    """Pieces of speech, in order. vectors (pieces, embedding), of length 1; frames (pieces,): how long each is;
    moments (pieces,): estimates of one moment share a number from 0 and are different people's; -1: of one talker."""

    vectors: Array
    frames: NDArray[np.float64]
    moments: Numbers

    @classmethod
    def joined(cls, pieces: Iterable["Pieces"], size: int) -> "Pieces":
        """Pieces of one window after the other. size: of embeddings."""
        none = cls(np.zeros((0, size), np.float32), np.zeros(0), np.zeros(0, np.intp))
        listed = [none, *pieces]
        numbers = np.cumsum([0, *(one.moments.max(initial=-1) + 1 for one in listed[:-1])])
        moments = [np.where(one.moments < 0, -1, one.moments + n) for one, n in zip(listed, numbers, strict=True)]
        return cls(
            np.concatenate([one.vectors for one in listed]),
            np.concatenate([one.frames for one in listed]),
            np.concatenate(moments),
        )

    def at_least(self, shortest_s: float) -> "Pieces":
        """Those that are not too short to be told apart."""
        return self[self.frames * FRAME_S >= shortest_s]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Pieces":
        return Pieces(self.vectors[chosen], self.frames[chosen], self.moments[chosen])

    @property
    def speech_s(self) -> float:
        return float(self.frames.sum()) * FRAME_S

    @property
    def alone(self) -> NDArray[np.bool_]:
        """(pieces,): those of single talkers."""
        return self.moments < 0

    @property
    def together_s(self) -> float:
        """How long there are several estimates of one moment."""
        _, first, counts = np.unique(self.moments[~self.alone], return_index=True, return_counts=True)
        return float(self.frames[~self.alone][first[counts > 1]].sum()) * FRAME_S


def pieces_of(seen: Observations, new: slice, parameters: Parameters) -> Pieces:
    """The pieces of the frames ``new`` of a window: what one talker says alone, and estimates where several talk."""
    counts = np.full(len(seen.counts), -1)
    counts[new] = seen.counts[new].argmax(1)
    vectors, frames, moments = [np.zeros((0, seen.embeddings.shape[2]), np.float32)], [0.0] * 0, [0] * 0
    for start, stop in _cut(counts == 1, parameters):
        vectors.append(seen.embeddings[:1, start:stop].mean(1))
        frames.append(stop - start)
        moments.append(-1)
    for moment, (start, stop) in enumerate(_cut(counts == 2, parameters)):
        levels = seen.levels[:, start:stop].mean(1)
        vectors.append(seen.embeddings[1:, start:stop].mean(1)[levels > levels.max() - APART_DB])
        frames += [stop - start] * len(vectors[-1])
        moments += [moment] * len(vectors[-1])
    return Pieces(unit(np.concatenate(vectors)), np.array(frames, float), np.array(moments, np.intp))


def find_people(pieces: Pieces, bounds: Bounds, parameters: Parameters) -> Array:
    """Embeddings (people, embedding) of those who talk, by their first piece; as many as the bounds allow.

    There are fewer than the least only where there is too little speech.
    """
    long = pieces.at_least(parameters.shortest_piece_s)
    pieces = long if len(long.frames) else pieces
    alone, together_s = pieces[pieces.alone], pieces.together_s
    heard = alone if alone.speech_s >= parameters.alone_s else pieces
    if bounds.most == 1:
        return unit((heard.vectors * heard.frames[:, None]).sum(0, keepdims=True))[: len(heard.frames)]
    people = _found(heard, bounds, parameters)
    shortest_s = max(parameters.together_s, parameters.together_ratio * (alone.speech_s + together_s))
    if len(people) < 2 and together_s >= shortest_s:  # who talk at once are two, however alike they sound
        return _found(pieces, Bounds(max(2, bounds.least), bounds.most), parameters)
    return people


def _found(heard: Pieces, bounds: Bounds, parameters: Parameters) -> Array:
    """The people of the clusters of pieces, by their first one."""
    needed = min(parameters.needed_s, parameters.needed_ratio * heard.speech_s) / FRAME_S
    people = _clustered(_condensed(heard, parameters), bounds, needed, parameters)
    while len(people):
        people, frames = _reassigned(people, heard)
        if len(people) <= max(1, bounds.least):
            break
        cosines = likeness(people, frames, people, frames, parameters)
        np.fill_diagonal(cosines, NEVER)
        one, other = divmod(int(cosines.argmax()), len(people))
        if cosines[one, other] > parameters.alike or (len(people) > bounds.most and frames.min() >= needed):
            people[one] = unit(people[one] * frames[one] + people[other] * frames[other])
            people = np.delete(people, other, axis=0)
        elif frames.min() < needed:
            people = np.delete(people, frames.argmin(), axis=0)
        else:
            break
    nearest = (heard.vectors @ people.T).argmax(1) if len(people) else np.zeros(0, np.intp)
    first = [np.append(np.flatnonzero(nearest == person), len(nearest))[0] for person in range(len(people))]
    return people[np.argsort(first, kind="stable")]


class KnownPeople:
    """The people of a recording as far as it has been heard: ``most`` at most, with embeddings of a ``size``.

    Their numbers stay; new ones come after the others.

    Attributes
    ----------
    embeddings
        (people, embedding).
    """

    def __init__(self, most: int, parameters: Parameters, size: int) -> None:
        self._bounds, self._parameters = Bounds(0, most), parameters
        self._pieces = Pieces.joined([], size)
        self.embeddings: Array = np.zeros((0, size), np.float32)

    def hear(self, pieces: Pieces) -> None:
        """Take in the pieces of the next window."""
        long = pieces.at_least(self._parameters.shortest_piece_s)  # a number is for ever, so that a cough gets none
        self._pieces = Pieces.joined([self._pieces, long], self.embeddings.shape[1])
        if len(self._pieces.frames) > MOST_CLUSTERED:  # what was long ago is remembered by its clusters
            self._pieces = _condensed(self._pieces[self._pieces.alone], self._parameters)
        found = find_people(self._pieces, self._bounds, self._parameters)
        cosines, known = self.embeddings @ found.T, self.embeddings.copy()
        new = np.ones(len(found), bool)
        while cosines.size and cosines.max() > self._parameters.alike:
            person, which = divmod(int(cosines.argmax()), len(found))
            known[person], new[which] = found[which], False
            cosines[person], cosines[:, which] = NEVER, NEVER
        self.embeddings = np.concatenate([known, found[new]])[: self._bounds.most]


def _cut(frames: NDArray[np.bool_], parameters: Parameters) -> Iterable[tuple[int, int]]:
    """[start, stop) of pieces of the stretches, none too long."""
    longest = parameters.piece_s / FRAME_S
    for start, stop in runs(frames):
        edges = np.linspace(start, stop, max(1, round((stop - start) / longest)) + 1).round().astype(int)
        yield from itertools.pairwise(edges.tolist())


def _condensed(pieces: Pieces, parameters: Parameters) -> Pieces:
    """Few enough to be clustered at once: clusters of consecutive stretches of them, where they are too many."""
    while len(pieces.frames) > MOST_CLUSTERED:
        parts = np.arange(len(pieces.frames)) // (MOST_CLUSTERED // 2)
        condensed = Pieces.joined(
            [_joined_by(part := pieces[parts == n], agglomerated(part, parameters)) for n in range(parts[-1] + 1)],
            pieces.vectors.shape[1],
        )
        if len(condensed.frames) > 0.9 * len(pieces.frames):  # they are all different
            return condensed[np.sort(np.argsort(-condensed.frames)[:MOST_CLUSTERED])]
        pieces = condensed
    return pieces


def _joined_by(pieces: Pieces, labels: Numbers) -> Pieces:
    """One piece for each label."""
    sums = np.stack([(pieces.vectors * pieces.frames[:, None])[labels == one].sum(0) for one in np.unique(labels)])
    frames = np.array([pieces.frames[labels == one].sum() for one in np.unique(labels)])
    return Pieces(unit(sums), frames, np.full(len(frames), -1, np.intp))


def _clustered(pieces: Pieces, bounds: Bounds, needed: float, parameters: Parameters) -> Array:
    """Clusters with speech enough, at least as many as there must be: (people, embedding)."""
    while True:
        clusters = _joined_by(pieces, agglomerated(pieces, parameters)) if len(pieces.frames) else pieces
        enough = int((clusters.frames >= needed).sum())
        if enough >= bounds.least or parameters.alike > MOST_ALIKE:
            largest = np.argsort(-clusters.frames, kind="stable")
            return clusters.vectors[largest[: max(enough, bounds.least, 1)]]
        parameters = replace(parameters, alike=parameters.alike + SPLITTING)


def _reassigned(people: Array, pieces: Pieces) -> tuple[Array, NDArray[Any]]:
    """The people by the pieces that are most like them, and the frames that they talk."""
    people = people.copy()
    for _ in range(ROUNDS):
        nearest = (pieces.vectors @ people.T).argmax(1)
        frames = np.bincount(nearest, pieces.frames, len(people))
        for person in np.flatnonzero(frames):
            mine = nearest == person
            people[person] = unit((pieces.vectors[mine] * pieces.frames[mine, None]).sum(0))
    return people, frames


def likeness(
    one: Array, frames: NDArray[Any], other: Array, other_frames: NDArray[Any], parameters: Parameters
) -> Array:
    """Cosines of mean embeddings of so many frames, as they would be of very many: (one, other).

    A mean over t seconds has a cosine of about sqrt(t / (t + doubt_s)) with what it is an estimate of.
    """
    doubt = parameters.doubt_s / FRAME_S
    surer, other_surer = (np.sqrt(1 + doubt / np.maximum(n, 1)) for n in (frames, other_frames))
    return np.asarray((one @ other.T) * np.outer(surer, other_surer), np.float32)


def agglomerated(pieces: Pieces, parameters: Parameters) -> Numbers:
    """Labels (pieces,) of clusters: the two that are most alike are joined, again and again, down to ``alike``.

    Estimates of one moment never come into one cluster. (SciPy's linkage knows neither weights nor such constraints,
    nor a likeness that depends on the sizes.)
    """
    n = len(pieces.frames)
    labels, sums = np.arange(n), pieces.vectors * pieces.frames[:, None]
    means, frames = pieces.vectors.copy(), pieces.frames.copy()
    apart = (pieces.moments[:, None] == pieces.moments) & ~pieces.alone
    np.fill_diagonal(apart, True)
    alike = np.where(apart, NEVER, likeness(means, frames, means, frames, parameters))
    while n and alike.max() >= parameters.alike:
        kept, gone = divmod(int(alike.argmax()), n)
        sums[kept] += sums[gone]
        frames[kept] += frames[gone]
        means[kept] = unit(sums[kept])
        apart[kept] |= apart[gone]
        apart[:, kept] = apart[kept]
        apart[gone] = apart[:, gone] = True
        row = likeness(means[kept : kept + 1], frames[kept : kept + 1], means, frames, parameters)[0]
        alike[kept] = alike[:, kept] = np.where(apart[kept], NEVER, row)
        alike[gone] = alike[:, gone] = NEVER
        labels[labels == gone] = kept
    return labels
