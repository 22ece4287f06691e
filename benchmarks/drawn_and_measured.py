"""Whether a simulated set is what was drawn: overlap, level, SNR and T60, measured on its signals.

    unbabble simulate --recipe recipes/paper.yaml --dry --count 500 --out SET --speech DIR --noise DIR
    python benchmarks/drawn_and_measured.py SET --out docs/results/drawn-and-measured.png

Overlap, level and SNR are measured on the dry signals of the set, T60 on impulse responses of its rooms (Schroeder
integration, -5 to -25 dB). Prints the differences; --out FILE draws measured against drawn.
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
import soundfile

from unbabble.base.config import parse_settings
from unbabble.mixing.plan import Plan
from unbabble.mixing.rooms import impulse_responses

matplotlib.use("Agg")
import matplotlib.pyplot as plt

UNITS = {"overlap ratio": "", "level of the second talker": " dB", "SNR": " dB", "T60": " s"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="folder written by unbabble simulate --dry")
    parser.add_argument("--out", type=Path, help="the picture to write")
    options = parser.parse_args()
    rows = [json.loads(line) for line in (options.set / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs = {name: [] for name in UNITS}
    for row in rows:
        for name, pair in measure(row, options.set).items():
            pairs[name].append(pair)
    print(f"{len(rows)} mixtures; measured against drawn\n")
    print("| what | drawn from | to | mean difference | mean absolute difference | largest |")
    print("|---|---|---|---|---|---|")
    for name, values in pairs.items():
        drawn, measured = np.array(values).T
        error, unit = measured - drawn, UNITS[name]
        print(
            f"| {name} | {drawn.min():.3f}{unit} | {drawn.max():.3f}{unit} | {error.mean():+.5f}{unit} | "
            f"{np.abs(error).mean():.5f}{unit} | {np.abs(error).max():.5f}{unit} |"
        )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        draw(pairs, options.out)


def measure(row: dict, folder: Path) -> dict[str, tuple[float, float]]:
    """Pairs of (drawn, measured) for one mixture of two talkers."""
    plan = parse_settings(Plan, row["plan"], row["id"])
    one, other, noise = (
        soundfile.read(folder / row["files"][kind])[0] for kind in ("dry_source1", "dry_source2", "dry_noise")
    )
    (first, end), (second, last) = (span_of(signal) for signal in (one, other))
    louder_db = level_db(other[second:last]) - level_db(one[first:end])
    response = impulse_responses(plan.room, plan.sample_rate)[0]
    return {
        "overlap ratio": (plan.overlap_ratio, max(0, end - second) / (end - first)),
        "level of the second talker": (plan.talkers[1].level_db, louder_db),
        "SNR": (plan.noise.snr_db, level_db(one + other) - level_db(noise)),
        "T60": (plan.room.t60_s, t60_s(response, plan.sample_rate)),
    }


def span_of(signal: np.ndarray) -> tuple[int, int]:
    """From the first to behind the last sample that is not zero."""
    heard = np.flatnonzero(signal)
    return int(heard[0]), int(heard[-1]) + 1


def level_db(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(signal**2)))


def t60_s(response: np.ndarray, sample_rate: int) -> float:
    """Schroeder integration: a line through the decay from -5 to -25 dB."""
    left = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    decay_db = 10 * np.log10(left / left[0] + 1e-20)
    start, stop = int(np.argmax(decay_db < -5)), int(np.argmax(decay_db < -25))
    slope, _ = np.polyfit(np.arange(start, stop) / sample_rate, decay_db[start:stop], 1)
    return float(-60 / slope)


def draw(pairs: dict[str, list[tuple[float, float]]], path: Path) -> None:
    figure, axes = plt.subplots(1, len(pairs), figsize=(3.2 * len(pairs), 3.4), layout="constrained")
    for axis, (name, values) in zip(axes, pairs.items(), strict=True):
        drawn, measured = np.array(values).T
        ends = [min(drawn.min(), measured.min()), max(drawn.max(), measured.max())]
        axis.plot(ends, ends, color="0.6", linewidth=1, zorder=0)
        axis.scatter(drawn, measured, s=5, color="#0072b2", alpha=0.6, linewidths=0)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(f"drawn{UNITS[name] and f' ({UNITS[name].strip()})'}")
        axis.set_aspect("equal")
    axes[0].set_ylabel("measured")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
