"""Whether memory stays what it is when a recording grows: the program on a minute and on hours of noise.

    python benchmarks/memory.py [--hours 10] [--rate 16000] [--model default] [--threads 2]

Prints the peak resident memory of the whole process for both. POSIX only. Ten hours take some minutes with the
bundled model, and 4 GB of disk at 16 kHz while they are separated (--folder says where).
"""

import argparse
import tempfile
from pathlib import Path

from measured import program, run, write_noise

GROWTH_MB, PEAK_MB = 100, 700  # what is promised


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--rate", type=int, default=16000, help="Hz")
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where there is room")
    options = parser.parse_args()
    print("| audio | peak memory (MB) | taken (s) | of the processor (s) |\n|---|---|---|---|")
    peaks = []
    for name, seconds in (("1 minute", 60.0), (f"{options.hours:g} hours", options.hours * 3600)):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = write_noise(Path(folder) / "noise.wav", seconds, options.rate)
            more = ("--model", options.model, "--threads", str(options.threads))
            done = run(program(path, Path(folder) / "tracks", *more))
        if done.code != 0:
            raise SystemExit(f"the program failed on {name}: {done.errors}")
        peaks.append(done.peak_mb)
        print(f"| {name} | {done.peak_mb:.0f} | {done.wall_s:.1f} | {done.cpu_s:.1f} |", flush=True)
    kept = peaks[1] - peaks[0] <= GROWTH_MB and max(peaks) <= PEAK_MB
    print(f"\nPromised: at most {GROWTH_MB} MB more, {PEAK_MB} MB in all: {'kept' if kept else 'BROKEN'}.")


if __name__ == "__main__":
    main()
