"""Spectrograms of a mixture and its separated tracks, as in the README.

unbabble separate examples/two-talkers.flac --out out
python docs/picture.py examples/two-talkers.flac out/two-talkers/speaker*.wav --out docs/two-talkers.png
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

FLOOR_DB, CEILING_DB = -80.0, -25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+", help="the mixture, then its tracks")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    options = parser.parse_args()
    names = ["mixture", *(f"track {number}" for number in range(1, len(options.recordings)))]
    figure, axes = plt.subplots(len(names), 1, figsize=(9, 1.9 * len(names)), sharex=True, layout="constrained")
    for axis, name, path in zip(np.atleast_1d(axes), names, options.recordings, strict=True):
        draw(axis, name, path)
    axes[-1].set_xlabel("time (s)")
    figure.savefig(options.out, dpi=110)


def draw(axis: plt.Axes, name: str, path: Path) -> None:
    """One spectrogram, on a scale of levels that all share."""
    samples, rate = soundfile.read(path)
    samples = samples + 1e-8 * np.random.default_rng(0).standard_normal(samples.shape)  # silence has no logarithm
    scale = {"mode": "magnitude", "scale": "dB", "cmap": "magma", "vmin": FLOOR_DB, "vmax": CEILING_DB}
    axis.specgram(samples, NFFT=512, Fs=rate, noverlap=384, **scale)
    axis.set_xlim(0, len(samples) / rate)
    axis.set_facecolor("black")
    axis.set_title(name, loc="left", fontsize=10)
    axis.set_ylabel("frequency (kHz)", fontsize=8)
    axis.set_ylim(0, 5000)
    axis.set_yticks([0, 1000, 2000, 3000, 4000, 5000], ["0", "1", "2", "3", "4", "5"])


if __name__ == "__main__":
    main()
