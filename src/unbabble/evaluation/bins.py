"""Mixtures in groups by a fact that is a number: overlap, reverberation, noise."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from unbabble.errors import ArgumentError


@dataclass(frozen=True)
class Bins:
    """Ranges between rising edges; a value that is an edge belongs to the range above it.

    shown: what an edge is multiplied with in names, which end with ``unit``.
    """

    edges: tuple[float, ...]
    unit: str
    shown: float = 1.0

    def __post_init__(self) -> None:
        if not self.edges or any(low >= high for low, high in pairwise(self.edges)):
            raise ArgumentError(f"edges of bins rise from one to the next; {list(self.edges)} do not")

    @property
    def names(self) -> tuple[str, ...]:
        edges = [f"{edge * self.shown:g}" for edge in self.edges]
        between = (f"{low}-{high}" for low, high in pairwise(edges))
        return tuple(f"{name} {self.unit}" for name in (f"<{edges[0]}", *between, f">{edges[-1]}"))

    def name_of(self, value: float) -> str:
        return self.names[sum(value >= edge for edge in self.edges)]


def overlap_bins(edges: tuple[float, ...] = (0.25, 0.5, 0.75)) -> Bins:
    """Of the overlap ratio: shared samples over the length of one utterance. Default: the paper's table 1."""
    if edges and not 0 < edges[0] <= edges[-1] < 1:
        raise ArgumentError(f"edges of overlap bins lie between 0 and 1; {list(edges)} do not")
    return Bins(edges, "%", shown=100)


def read_edges(text: str) -> Bins:
    """Overlap bins from their edges, separated by commas. Raises ValueError."""
    try:
        edges = tuple(float(edge) for edge in text.split(","))
    except ValueError:
        raise ArgumentError(f"{text!r} are no edges of bins; expected numbers such as 0.25,0.5,0.75") from None
    return overlap_bins(edges)


T60 = Bins((0.2, 0.3, 0.4, 0.5), "s")
NOISE_SNR = Bins((0.0, 5.0, 10.0, 15.0, 20.0), "dB")


def mean_by_bin(values: Iterable[tuple[float, float]], bins: Bins) -> dict[str, float]:
    """Pairs of (what the bins are of, value) -> the mean value of each bin that is not empty, in order."""
    members: dict[str, list[float]] = {name: [] for name in bins.names}
    for position, value in values:
        members[bins.name_of(position)].append(value)
    return {name: sum(inside) / len(inside) for name, inside in members.items() if inside}
