"""Who talks when: spans of samples for each talker of a mixture."""

from collections.abc import Sequence

import numpy as np

from unbabble.mixing.recipe import Conversation

Span = tuple[int, int]  # [start, stop) in samples
Spans = tuple[tuple[Span, ...], ...]  # of each talker, in order, never overlapping one another


def overlapping(n_samples: int, overlap_ratio: float, n_speakers: int) -> Spans:
    """One utterance of each talker, as in the paper.

    For two talkers each utterance has n / (2 - r) samples; the first starts at 0, the second ends with the
    mixture, so that they fill it and share a fraction r of one utterance. More talkers follow one another in
    the same way.
    """
    last = n_speakers - 1
    length = round(n_samples / (1 + last * (1 - overlap_ratio)))
    starts = [round((n_samples - length) * talker / max(last, 1)) for talker in range(n_speakers)]
    return tuple(((start, start + length),) for start in starts)


def conversation(
    recipe: Conversation, n_samples: int, n_speakers: int, sample_rate: int, rng: np.random.Generator
) -> Spans:
    """Turns until the mixture is full. Everyone has had a turn before anyone has another, while there is time.

    A turn begins where the last one ended, after a pause or a little before that end; nobody follows themself
    (but one talker alone). A backchannel lies within a turn of another talker and touches none of its own.
    """

    def draw(bounds: tuple[float, float]) -> int:
        return round(float(rng.uniform(*bounds)) * sample_rate)

    turns: list[list[Span]] = [[] for _ in range(n_speakers)]
    short: list[list[Span]] = [[] for _ in range(n_speakers)]
    last, last_start, end = -1, 0, 0
    while True:
        if last < 0:
            start = 0
        elif n_speakers > 1 and rng.random() < recipe.overlap_probability:
            start = max(last_start, end - draw(recipe.overlap_s))
        elif recipe.long_pause_probability and rng.random() < recipe.long_pause_probability:
            start = end + draw(recipe.long_pause_s)
        else:
            start = end + draw(recipe.pause_s)
        others = [talker for talker in range(n_speakers) if talker != last] or [last]
        unheard = [talker for talker in others if not turns[talker]]
        talker = int(rng.choice(unheard or others))
        if turns[talker]:
            start = max(start, turns[talker][-1][1])
        if start >= n_samples:
            break
        stop = min(start + max(1, draw(recipe.turn_s)), n_samples)
        turns[talker].append((start, stop))
        if n_speakers > 1 and rng.random() < recipe.backchannel_probability:
            other = int(rng.choice([one for one in range(n_speakers) if one != talker]))
            length = min(draw(recipe.backchannel_s), stop - start)
            at = start + int(rng.integers(stop - start - length + 1))
            short[other].append((at, at + length))
        last, last_start, end = talker, start, max(end, stop)
    return tuple(_merged(*both) for both in zip(turns, short, strict=True))


def overlap_ratio(spans: Spans) -> float:
    """The fraction of a talker's speech during which somebody else talks as well, averaged over the talkers.

    For two utterances of one length it is the paper's overlap ratio; 0 where there are fewer than two talkers.
    """
    edges = np.unique([edge for one in spans for span in one for edge in span])
    lengths = np.diff(edges)
    talking = np.zeros((len(spans), len(lengths)), bool)
    for row, one in zip(talking, spans, strict=True):
        for start, stop in one:
            row[np.searchsorted(edges, start) : np.searchsorted(edges, stop)] = True
    spoken = talking @ lengths
    shared = (talking & (talking.sum(0) > 1)) @ lengths
    heard = spoken > 0
    return float(np.mean(shared[heard] / spoken[heard])) if heard.any() else 0.0


def _merged(turns: Sequence[Span], short: Sequence[Span]) -> tuple[Span, ...]:
    """All turns, and those of the short spans that touch nothing before them."""
    kept: list[Span] = list(turns)
    for start, stop in short:
        if start < stop and all(stop < one_start or one_stop < start for one_start, one_stop in kept):
            kept.append((start, stop))
    return tuple(sorted(kept))
