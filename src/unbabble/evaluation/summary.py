"""Scores of many mixtures as means with 95 % intervals: over all, and by what the mixtures were."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unbabble.evaluation.bins import NOISE_SNR, T60, Bins
from unbabble.evaluation.metrics import digits
from unbabble.evaluation.results import Result

RESAMPLES = 1000
CONFIDENCE = 95  # %
AVERAGE = "average"
GENDERS = ("same", "different")


@dataclass(frozen=True)
class Mean:
    """A mean over ``count`` mixtures; low, high: its interval by the bootstrap (percentiles)."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Group:
    """Mixtures that have something in common. scores: by column; a column without values is left out."""

    name: str
    count: int
    scores: dict[str, Mean]


@dataclass(frozen=True)
class Table:
    """Groups by one fact. key: its name in JSON; title: for people."""

    key: str
    title: str
    groups: tuple[Group, ...]


def summarise(results: Sequence[Result], bins: Bins) -> tuple[Table, ...]:
    """By overlap, which every mixture has, and by T60, SNR and gender, where any mixture has them."""
    tables = [
        _table("overlap", "Overlap ratio", results, bins.names, lambda one: bins.name_of(one.overlap_ratio)),
        _table("t60", "Reverberation (T60)", results, T60.names, lambda one: _name(T60, one.t60_s)),
        _table("noise_snr", "Noise (SNR)", results, NOISE_SNR.names, lambda one: _name(NOISE_SNR, one.noise_snr_db)),
        _table("gender", "Gender of the talkers", results, GENDERS, lambda one: one.genders or None),
    ]
    return tuple(table for table in tables if table.groups)


def mean_of(values: Iterable[float]) -> Mean | None:
    """NaN are passed over; None where nothing is left."""
    there = np.array([value for value in values if not math.isnan(value)])
    if not there.size:
        return None
    rng = np.random.default_rng(0)
    means = there[rng.integers(there.size, size=(RESAMPLES, there.size))].mean(1)
    low, high = np.percentile(means, [(100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2])
    return Mean(float(there.mean()), float(low), float(high), there.size)


def cell(column: str, mean: Mean | None) -> str:
    """A mean with its interval, with as many digits as its kind of score needs."""
    if mean is None:
        return ""
    form = f".{digits(column)}f"
    return f"{mean.mean:{form}} [{mean.low:{form}}, {mean.high:{form}}]"


def _table(
    key: str,
    title: str,
    results: Sequence[Result],
    names: Sequence[str],
    name_of: Callable[[Result], str | None],
) -> Table:
    """Groups in the order of their names, without empty ones, then the average over all that are in one."""
    named = [(name_of(result), result) for result in results]
    members = [(name, [result for one, result in named if one == name]) for name in names]
    members.append((AVERAGE, [result for one, result in named if one is not None]))
    groups = tuple(_group(name, inside) for name, inside in members if inside)
    return Table(key, title, groups)


def _group(name: str, results: Sequence[Result]) -> Group:
    means = {column: mean_of(one.scores[column] for one in results) for column in results[0].scores}
    return Group(name, len(results), {column: mean for column, mean in means.items() if mean is not None})


def _name(bins: Bins, value: float) -> str | None:
    return None if math.isnan(value) else bins.name_of(value)
