"""Mixtures by how much the talkers overlap, in the bins of the paper's table 1."""

from collections.abc import Iterable

EDGES = (0.25, 0.5, 0.75)
NAMES = ("<25 %", "25-50 %", "50-75 %", ">75 %")


def bin_of(overlap_ratio: float) -> str:
    """Name of the bin. Overlap ratio: shared samples over the length of one utterance, 0 to 1."""
    return NAMES[sum(overlap_ratio >= edge for edge in EDGES)]


def mean_by_bin(values: Iterable[tuple[float, float]]) -> dict[str, float]:
    """Pairs of (overlap ratio, value) -> the mean value of each bin that is not empty, in order."""
    members: dict[str, list[float]] = {}
    for overlap_ratio, value in values:
        members.setdefault(bin_of(overlap_ratio), []).append(value)
    return {name: sum(members[name]) / len(members[name]) for name in NAMES if name in members}
