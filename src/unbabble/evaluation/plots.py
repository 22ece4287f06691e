"""Plots as positions in a picture of WIDTH x HEIGHT, which the page draws as SVG in its own colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unbabble.evaluation.bins import Bins
from unbabble.evaluation.metrics import IMPROVEMENT, MAIN
from unbabble.evaluation.results import Result
from unbabble.evaluation.summary import Table
from unbabble.sets.page import round_numbers

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 10, 48  # margins
BARS = 40  # at most, of the distribution
GAIN = MAIN + IMPROVEMENT


@dataclass(frozen=True)
class Frame:
    """Axes from the first to the last of two bounds each, in the units of the data."""

    x_bounds: tuple[float, float]
    y_bounds: tuple[float, float]
    x_title: str
    y_title: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM

    def x(self, value: float) -> float:
        return round(self.left + (self.right - self.left) * _part(value, self.x_bounds), 1)

    def y(self, value: float) -> float:
        return round(self.bottom - (self.bottom - self.top) * _part(value, self.y_bounds), 1)

    @property
    def x_ticks(self) -> list[float]:
        return round_numbers(*self.x_bounds, 6)

    @property
    def y_ticks(self) -> list[float]:
        return round_numbers(*self.y_bounds, 6)


@dataclass(frozen=True)
class Interval:
    """The mean of a group in the middle of its bin, with what it is in words."""

    x: float
    low: float
    mean: float
    high: float
    words: str


@dataclass(frozen=True)
class Scatter:
    """points: overlap in %, gain in dB, id."""

    frame: Frame
    points: tuple[tuple[float, float, str], ...]
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Histogram:
    """bars: from and to which gain in dB, and how many mixtures."""

    frame: Frame
    bars: tuple[tuple[float, float, int], ...]


def by_overlap(results: Sequence[Result], table: Table, bins: Bins) -> Scatter:
    """SI-SDRi of each mixture (of at least one) against its overlap, and the means of the bins."""
    points = tuple((100 * one.overlap_ratio, one.scores[GAIN], one.id) for one in results)
    edges = (0.0, *bins.edges, 1.0)
    middles = {name: 50 * (edges[number] + edges[number + 1]) for number, name in enumerate(bins.names)}
    intervals = []
    for group in table.groups:
        mean = group.scores.get(GAIN)
        if group.name in middles and mean:
            words = f"{group.name}: {mean.mean:.2f} dB, {mean.low:.2f} to {mean.high:.2f} dB"
            intervals.append(Interval(middles[group.name], mean.low, mean.mean, mean.high, words))
    frame = Frame((0, 100), _bounds([gain for _, gain, _ in points]), "overlap ratio (%)", "SI-SDRi (dB)")
    return Scatter(frame, points, tuple(intervals))


def distribution(results: Sequence[Result]) -> Histogram:
    """How many mixtures (of at least one) have which SI-SDRi, in steps one of which begins at 0 dB."""
    gains = [one.scores[GAIN] for one in results]
    low, high = _bounds(gains)
    step = next(step for step in (0.5, 1, 2, 5, 10, 20) if (high - low) / step <= BARS)
    numbers = [math.floor(gain / step) for gain in gains]
    bars = tuple(
        (number * step, (number + 1) * step, numbers.count(number))
        for number in range(min(numbers), max(numbers) + 1)
    )
    bounds = (min(low, bars[0][0]), max(high, bars[-1][1]))
    most = max(5, *(bar[2] for bar in bars))  # with fewer the axis would have fractions
    return Histogram(Frame(bounds, (0, most), "SI-SDRi (dB)", "mixtures"), bars)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Whole numbers around the values and 0."""
    return math.floor(min(0.0, *values)), math.ceil(max(1.0, *values))


def _part(value: float, bounds: tuple[float, float]) -> float:
    return (value - bounds[0]) / (bounds[1] - bounds[0])
