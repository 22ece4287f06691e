"""What the results of many recordings come to: for a model's card, and as Markdown."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unbabble.evaluation.bins import overlap_bins
from unbabble.evaluation.summary import mean_of
from unbabble.evaluation.text import markdown_table

Scores = dict[str, float]  # of a recording
Figures = dict[str, Any]  # of many
FRACTIONS = (
    *("made_worse", "overlooked", "count_accuracy", "on_own_track"),
    *("diarization_error_rate", "missed_detection", "false_alarm", "confusion"),
)
OLD_NAMES = {"share_count_right": "count_accuracy"} | {f"share_{name}": name for name in FRACTIONS}
BINS = overlap_bins()


def means(scores: Sequence[Scores]) -> Figures:
    """Of every score, with its interval, and how many recordings there are."""
    found = {name: mean_of(one[name] for one in scores) for name in scores[0]}
    rounded = {
        name: {end: round(getattr(mean, end), 3) for end in ("mean", "low", "high")}
        for name, mean in found.items()
        if mean
    }
    return {"count": len(scores), **rounded}


def by_overlap(results: Sequence[tuple[float, Scores]]) -> Figures:
    """Means over all, and over those of each range of overlap ratios."""
    inside = {name: [scores for ratio, scores in results if BINS.name_of(ratio) == name] for name in BINS.names}
    every = means([scores for _, scores in results])
    return {**every, "by_overlap": {name: means(scores) for name, scores in inside.items() if scores}}


def medians(scores: Sequence[Scores]) -> Figures:
    """Means of what is counted; of decibels, which are at a limit or far from it, the median and a low quantile."""
    measured = [name for name in scores[0] if name not in FRACTIONS]
    return {**means(scores), **{name: _median([one[name] for one in scores]) for name in measured}}


def table(rows: Mapping[str, Figures], columns: Mapping[str, str]) -> str:
    """Markdown. columns: names of figures by their heads; what is there by overlap follows, SI-SDR / SI-SDRi.

    Columns without any figures are left out.
    """
    there = {head: name for head, name in columns.items() if any(name in figures for figures in rows.values())}
    bins = [name for name in BINS.names if any(name in figures.get("by_overlap", {}) for figures in rows.values())]
    cells = []
    for row, figures in rows.items():
        shown = [_shown(name, figures.get(name)) for name in there.values()]
        pairs = [_pair(figures.get("by_overlap", {}).get(name)) for name in bins]
        cells.append([row, *shown, *pairs])
    return markdown_table(["", *there, *bins], cells)


def with_known_names(figures: Any) -> Any:
    """Figures of a card, whose names may be older."""
    if not isinstance(figures, dict):
        return figures
    return {OLD_NAMES.get(name, name): with_known_names(figure) for name, figure in figures.items()}


def as_json(content: Figures) -> str:
    """Indented, but what has nothing nested in it is on one line."""

    def on_one_line(found: re.Match[str]) -> str:
        return re.sub(r"\n\s*", "", re.sub(r",\n\s*", ", ", found[0]))

    return re.sub(r"[\[{][^][{}]*[]}]", on_one_line, json.dumps(content, indent=2)) + "\n"


def _median(values: Sequence[float]) -> Figures:
    median, lowest = np.percentile(values, (50, 10))
    return {"median": round(float(median), 1), "lowest_tenth": round(float(lowest), 1)}


def _shown(name: str, figure: Any) -> str:
    if not isinstance(figure, dict):
        return "-" if figure is None else f"{figure:g}"
    if "median" in figure:
        return f"{figure['median']:.0f} ({figure['lowest_tenth']:.0f})"
    scale, unit = (100, " %") if name in FRACTIONS else (1, "")
    mean, low, high = (scale * figure[end] for end in ("mean", "low", "high"))
    return f"{mean:.1f}{unit} [{low:.1f}, {high:.1f}]"


def _pair(figures: Figures | None) -> str:
    return f"{figures['si_sdr']['mean']:.1f} / {figures['si_sdri']['mean']:.1f}" if figures else "-"
