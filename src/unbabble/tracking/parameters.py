"""The numbers of tracking, in one place: they travel with the diarizer that they were tuned for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any


@dataclass(frozen=True)
class Parameters:
    """Weights and costs of decoding (logarithms of probabilities), and limits of clustering.

    ``benchmarks/tune_tracking.py`` finds them on conversations of validation speakers; docs/stitching.md says what
    each is for.
    """

    speech: float = 1.5  # for speech: losing a word is worse than keeping a breath
    several: float = 0.8  # for several talkers: separating one does less harm than not separating two
    embedding: float = 0.7  # cosine of the mixture's embedding and a person's, where one talks
    estimate_embedding: float = 1.0  # the same of an estimate's embedding, where several talk
    louder: float = 0.9  # whoever talks alone is on the louder estimate
    begin: float = 4.0  # a transition between silence, one talker and several
    relay: float = 7.0  # a transition to other people
    swap: float = 4.5  # a person's move to another estimate
    around_s: float = 0.2  # to each side: an embedding is averaged over so much speech
    piece_s: float = 1.6  # longest piece of speech that is clustered as one,
    shortest_piece_s: float = 0.5  # and the shortest
    doubt_s: float = 1.0  # of speech after which a mean embedding is as much the person's as by chance
    alike: float = 0.7  # cosine above which two clusters are one person's
    needed_s: float = 7.0  # of speech that a cluster needs to be another person's,
    needed_ratio: float = 0.065  # or this fraction of all speech, where that is less
    together_s: float = 0.8  # of several at once, with which there are two people at least,
    together_ratio: float = 0.25  # if they are this fraction of all speech
    alone_s: float = 3.0  # of speech of single talkers, with less of which estimates of several are clustered too

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
                raise ValueError(f"{field.name} is {value!r}; expected a number")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Parameters":
        """Those that are given, and the defaults of the others. Raises ValueError for unknown names, no numbers."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(field.name for field in fields(cls))}")
        return cls(**values)
