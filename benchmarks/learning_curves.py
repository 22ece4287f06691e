"""Learning curves: how well networks separate, against the time, the size or the data that they had.

    python benchmarks/learning_curves.py --point minutes 15 SUMMARY --point minutes 124 SUMMARY \\
        --point "million parameters" 1.5 SUMMARY --out learning-curves.png

SUMMARY is the summary.json of `unbabble evaluate` or of a network of `unbabble compare`; all of them are to be of one
set of mixtures, or the curves would show what the sets are. Points of one unit make a curve: a table, and a panel of
the picture.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unbabble.base.output import whole_file
from unbabble.evaluation.text import markdown_table

SCORE = "si_sdri"


class Point(NamedTuple):
    """What a network had, in the unit of its curve, and its scores."""

    amount: float
    summary: dict[str, Any]


def main() -> None:
    options = parse()
    curves: dict[str, list[Point]] = {}
    for unit, amount, file in options.point:
        point = Point(float(amount), json.loads(Path(file).read_text(encoding="utf-8")))
        curves.setdefault(unit, []).append(point)
    for points in curves.values():
        points.sort(key=lambda point: point.amount)
    print("\n\n".join(table(unit, points) for unit, points in curves.items()))
    figure = Figure(figsize=(4 * len(curves), 3.6), layout="constrained")
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axis, (unit, points) in zip(axes, curves.items(), strict=True):
        draw(axis, unit, points)
    axes[0].legend(fontsize=7, title="overlap", title_fontsize=7)
    with whole_file(options.out) as path:
        figure.savefig(path, dpi=110, format="png")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", action="append", nargs=3, metavar=("UNIT", "AMOUNT", "SUMMARY"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    return parser.parse_args()


def table(unit: str, points: list[Point]) -> str:
    bins = list(points[0].summary["by_overlap"])
    lines = []
    for amount, summary in points:
        inside = [f"{summary['by_overlap'][one][SCORE]['mean']:.2f}" for one in bins]
        average = summary["average"][SCORE]
        interval = f"{average['low']:.2f} to {average['high']:.2f}"
        lines.append([f"{amount:g}", *inside, f"{average['mean']:.2f}", interval])
    return markdown_table([unit, *bins, "average", "interval"], lines)


def draw(axis: Axes, unit: str, points: list[Point]) -> None:
    """The average with its interval, and thinner the means by overlap."""
    amounts = [point.amount for point in points]
    averages = [point.summary["average"][SCORE] for point in points]
    ends = [[one["mean"] - one["low"] for one in averages], [one["high"] - one["mean"] for one in averages]]
    axis.errorbar(amounts, [one["mean"] for one in averages], ends, marker="o", color="black", label="average")
    for one in points[0].summary["by_overlap"]:
        means = [point.summary["by_overlap"][one][SCORE]["mean"] for point in points]
        axis.plot(amounts, means, marker=".", linewidth=1, label=one)
    axis.set_xscale("log")
    axis.set_xticks(amounts, [f"{amount:g}" for amount in amounts], rotation=45)
    axis.minorticks_off()
    axis.set_xlabel(unit)
    axis.set_ylabel("SI-SDRi (dB)")
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
