"""What a comparison found: a table beside the paper's, and SI-SDR against the share of SISO blocks."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from unbabble.evaluation.bins import overlap_bins
from unbabble.evaluation.metrics import MAIN
from unbabble.evaluation.results import TABLE, read_results
from unbabble.evaluation.summary import CONFIDENCE, Mean, mean_of
from unbabble.networks.network import MixedDesign, SisoOnlyDesign
from unbabble.output import whole_file, write_whole

# PAPER: table 1. SI-SDR (dB) by overlap ratio in four bins, and the average.
PAPER = {
    (6, 0): (13.9, 10.0, 7.2, 4.8, 9.0),
    (5, 1): (14.0, 10.1, 7.3, 4.9, 9.1),
    (4, 2): (14.2, 10.4, 7.6, 5.0, 9.4),
    (3, 3): (14.4, 10.5, 7.6, 5.0, 9.4),
    (2, 4): (14.6, 10.6, 7.8, 4.9, 9.5),
    (1, 5): (14.3, 10.3, 7.5, 4.8, 9.2),
    (0, 6): (13.5, 9.5, 6.8, 4.5, 8.6),
}
BINS = overlap_bins()
NOTE = (
    f"SI-SDR in dB of the estimates, means over the test mixtures with {CONFIDENCE} % bootstrap intervals; in "
    "brackets the paper's. The difference is to the first design, mixture by mixture; an interval that holds zero "
    "means that no difference was seen. The paper's networks had other data and longer training: compare "
    "differences, not levels."
)


@dataclass(frozen=True)
class Row:
    """One design. means: by bin, then the average; difference: to the first row's, None for that one."""

    name: str
    design: MixedDesign | SisoOnlyDesign
    n_runs: int
    means: tuple[Mean | None, ...]
    difference: Mean | None
    paper: tuple[float, ...] | None

    @property
    def siso_share(self) -> float | None:
        """Part of the blocks after the split; None for a SISO-only design."""
        if isinstance(self.design, SisoOnlyDesign):
            return None
        return self.design.siso_blocks / max(1, self.design.siso_blocks + self.design.simo_blocks)


def write_table(scored: Mapping[str, tuple[MixedDesign | SisoOnlyDesign, Sequence[Path]]], out: Path) -> list[Path]:
    """Write table.md, table.json and curve.png. scored: for each name the design and its folders of scores."""
    rows = rows_of(scored)
    write_whole(out / "table.md", markdown(rows).encode())
    write_whole(out / "table.json", (json.dumps([_plain(row) for row in rows], indent=2) + "\n").encode())
    with whole_file(out / "curve.png") as path:
        curve(rows).savefig(path, dpi=110, format="png")
    return [out / name for name in ("table.md", "table.json", "curve.png")]


def rows_of(scored: Mapping[str, tuple[MixedDesign | SisoOnlyDesign, Sequence[Path]]]) -> list[Row]:
    """One for each design, from the scores of its mixtures, averaged over its runs."""
    rows: list[Row] = []
    first: dict[str, float] = {}
    for name, (design, folders) in scored.items():
        scores, ratios = _mean_scores(folders)
        first = first or scores
        differences = [scores[mixture] - first[mixture] for mixture in scores if mixture in first]
        bins = {mixture: BINS.name_of(ratio) for mixture, ratio in ratios.items()}
        inside = [[scores[mixture] for mixture in scores if bins[mixture] == one] for one in BINS.names]
        paper = None
        if isinstance(design, MixedDesign):
            paper = PAPER.get((design.simo_blocks, design.siso_blocks))
        means = (*map(mean_of, inside), mean_of(scores.values()))
        rows.append(Row(name, design, len(folders), means, mean_of(differences) if rows else None, paper))
    return rows


def markdown(rows: Sequence[Row]) -> str:
    header = ["design", "runs", *BINS.names, "average", "interval", f"difference to {rows[0].name}", "interval"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        beside = [f" ({one})" for one in row.paper] if row.paper else [""] * len(row.means)
        values = [f"{_number(mean)}{paper}" for mean, paper in zip(row.means, beside, strict=True)]
        change = row.difference
        shown = ["", ""] if change is None else [f"{change.mean:+.2f}", f"{change.low:+.2f} to {change.high:+.2f}"]
        average = row.means[-1]
        interval = "" if average is None else f"{average.low:.2f} to {average.high:.2f}"
        lines.append([row.name, str(row.n_runs), *values, interval, *shown])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{NOTE}\n"


def curve(rows: Sequence[Row]) -> Figure:
    """Average SI-SDR against the share of SISO blocks, less that of the first design; the paper's beside it."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    mixed = sorted((row.siso_share, row) for row in rows if row.siso_share is not None and row.means[-1])
    shares = [share for share, _ in mixed]
    means = [row.means[-1] for _, row in mixed]
    axis.errorbar(
        shares,
        [mean.mean for mean in means if mean],
        [[mean.mean - mean.low for mean in means if mean], [mean.high - mean.mean for mean in means if mean]],
        marker="o",
        color="#0072b2",
        label="here",
    )
    for row in rows:
        average = row.means[-1]
        if row.siso_share is None and average:
            axis.axhline(average.mean, color="#009e73", linestyle=":", linewidth=1)
            axis.annotate(row.name, (0.01, average.mean), fontsize=8, color="#009e73", va="bottom")
    paper = sorted((siso / (simo + siso), values[-1]) for (simo, siso), values in PAPER.items())
    axis.plot(*zip(*paper, strict=True), marker="s", color="0.6", label="paper")
    axis.set_xlabel("share of SISO blocks")
    axis.set_ylabel("average SI-SDR (dB)")
    axis.legend()
    return figure


def _mean_scores(folders: Sequence[Path]) -> tuple[dict[str, float], dict[str, float]]:
    """SI-SDR (dB) and overlap ratio of each mixture that every run has, the first averaged over the runs."""
    runs = [read_results(folder / TABLE, (MAIN,)) for folder in folders]
    shared = [mixture for mixture in runs[0] if all(mixture in run for run in runs)]
    means = {mixture: float(np.mean([run[mixture].scores[MAIN] for run in runs])) for mixture in shared}
    scored = {mixture: mean for mixture, mean in means.items() if not math.isnan(mean)}
    return scored, {mixture: runs[0][mixture].overlap_ratio for mixture in scored}


def _number(mean: Mean | None) -> str:
    return "none" if mean is None else f"{mean.mean:.2f}"


def _plain(row: Row) -> dict[str, Any]:
    names = (*BINS.names, "average")
    return {
        "name": row.name,
        "design": asdict(row.design),
        "runs": row.n_runs,
        "si_sdr": {name: mean and asdict(mean) for name, mean in zip(names, row.means, strict=True)},
        "difference": row.difference and asdict(row.difference),
        "paper": row.paper and dict(zip(names, row.paper, strict=True)),
    }
