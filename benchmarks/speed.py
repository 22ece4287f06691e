"""How long separating takes and how much memory it needs, each length in a process of its own.

    python benchmarks/speed.py [--seconds 10 60 600] [--rate 16000]

Separates noise of these lengths with the program as a user would, from start to exit. Prints seconds, the
real-time factor (seconds taken over seconds of audio) and the peak memory of the process. POSIX only.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 600])
    parser.add_argument("--rate", type=int, default=16000, help="Hz")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    print("| audio (s) | taken (s) | real-time factor | peak memory (MB) |")
    print("|---|---|---|---|")
    figures = []
    for seconds in options.seconds:
        taken, peak_mb = measure(seconds, options.rate, options.model)
        figures.append({"audio_s": seconds, "taken_s": taken, "peak_mb": peak_mb})
        print(f"| {seconds:g} | {taken:.2f} | {taken / seconds:.3f} | {peak_mb:.0f} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(seconds: float, rate: int, model: str) -> tuple[float, float]:
    """Seconds and peak resident memory (MB) of one run of the program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate)), rate)
        command = [sys.executable, "-m", "unbabble", "separate", str(path), "--out", folder, "--model", model, "-q"]
        started = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        taken = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"the program failed on {seconds} s")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return taken, usage.ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
