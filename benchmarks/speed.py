"""How fast separating is, in how much memory, beside other separators, in the same run and in turn.

    python benchmarks/speed.py [--seconds 4 30 120 600] [--hour] [--threads 2] [--rounds 3] [--json FILE]

Each run is a process of its own, which reads a file of noise at 16 kHz and writes tracks. Compared are unbabble with
the bundled model; with a network of the paper's size (random weights, windows of 10 s of which neighbours share 1 s;
exported here, which needs the extra ``train``), also with LSTMs of 8 bits; asteroid's DPRNNTasNet of the same size,
its ConvTasNet, and SpeechBrain's SepFormer (random weights). Contenders that are not installed are left out with a
note. To install them, beside the extra ``train``:

    pip install --no-deps --target OTHERS asteroid asteroid-filterbanks requests urllib3 idna certifi \\
        charset-normalizer huggingface_hub filelock tqdm speechbrain hyperpyyaml ruamel.yaml sentencepiece joblib
    PYTHONPATH=OTHERS python benchmarks/speed.py

(SpeechBrain imports torchaudio, which its networks do not use; where there is none that fits torch, an empty module
takes its place.)

The first table is of separating alone, after imports and loading: seconds of the clock and of the processor, over
seconds of audio; and of the peak memory of the process. The second is of the whole process on the shortest file, from
start to exit; unbabble's is its program, as a user starts it. Both give medians. Where a machine has other work, the
processor's seconds are the ones to trust. Below the tables stand ratios, and the floor: the real-time factor of the
paper's size if nothing but its multiply-accumulates took time, at the rate of large matrix products. A contender runs
--rounds times at each length, but not again once its runs there have taken --patience seconds, and not at all where a
run would take longer than that. POSIX only.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from contenders import CONV_TASNET, DPRNN, NOT_INSTALLED, RATE, SEPFORMER
from measured import Run, program, run, write_noise

BUNDLED, PAPER, PAPER_8BIT = "unbabble, bundled model", "unbabble, paper's size", "unbabble, paper's size, 8 bits"
CONTENDERS = Path(__file__).with_name("contenders.py")


@dataclass
class Figures:
    """One contender at one length: an entry a round; factors over the seconds of audio."""

    name: str
    seconds: float
    wall_factors: list[float] = field(default_factory=list)
    cpu_factors: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)
    taken_s: float = 0.0


class Benchmark:
    """Runs contenders; remembers which cannot be run, and why."""

    def __init__(self, models: dict[str, str], threads: int, patience: float, folder: Path) -> None:
        self.models, self.threads, self.patience, self.folder = models, threads, patience, folder
        self.names = [*models, DPRNN, CONV_TASNET, SEPFORMER]
        self.left_out: dict[str, str] = {}
        self._expected_factor = dict.fromkeys(self.names, 0.0)

    def noise(self, seconds: float) -> Path:
        path = self.folder / f"{seconds:g}.wav"
        return path if path.exists() else write_noise(path, seconds, RATE)

    def separating(self, seconds: float, rounds: int) -> list[Figures]:
        """All contenders at one length, in turn."""
        figures = [Figures(name, seconds) for name in self.names]
        for _ in range(rounds):
            for one in figures:
                expected_s = self._expected_factor[one.name] * seconds
                if one.name not in self.left_out and one.taken_s + expected_s <= self.patience:
                    self._once_more(one)
        for one in figures:
            if one.wall_factors:
                self._expected_factor[one.name] = statistics.median(one.wall_factors)
        return [one for one in figures if one.wall_factors]

    def _once_more(self, figures: Figures) -> None:
        command = [sys.executable, str(CONTENDERS), self.models.get(figures.name, figures.name)]
        command += [str(self.noise(figures.seconds)), str(self.folder), "--threads", str(self.threads)]
        done = run(command, self.threads)
        if not self._ran(figures.name, done):
            return
        told = json.loads(done.output.splitlines()[-1])
        figures.wall_factors.append(told["wall_s"] / figures.seconds)
        figures.cpu_factors.append(told["cpu_s"] / figures.seconds)
        figures.peaks_mb.append(done.peak_mb)
        figures.taken_s += done.wall_s

    def whole_process(self, seconds: float, rounds: int) -> dict[str, list[Run]]:
        """From start to exit, in turn."""
        runs: dict[str, list[Run]] = {name: [] for name in self.names if name not in self.left_out}
        path = self.noise(seconds)
        for index in range(rounds):
            for name, done in runs.items():
                if sum(one.wall_s for one in done) > self.patience:
                    continue
                if name in self.models:
                    more = ("--model", self.models[name], "--threads", str(self.threads))
                    command = program(path, self.folder / f"{index} {name}", *more)
                else:
                    command = [sys.executable, str(CONTENDERS), name, str(path), str(self.folder)]
                    command += ["--threads", str(self.threads)]
                once = run(command, self.threads)
                if self._ran(name, once):
                    done.append(once)
        return {name: done for name, done in runs.items() if done}

    def _ran(self, name: str, done: Run) -> bool:
        if done.code == 0:
            return True
        why = done.errors.strip().splitlines() or [f"exit code {done.code}"]
        self.left_out[name] = f"{'not installed' if done.code == NOT_INSTALLED else 'failed'}: {why[-1]}"
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[4, 30, 120, 600])
    parser.add_argument("--hour", action="store_true", help="an hour too; unbabble alone will have the patience")
    parser.add_argument("--model", default="default", help="the model for the bundled one's rows")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=100, help="seconds for a contender at a length")
    parser.add_argument("--json", type=Path, help="write the figures of every round to this file")
    options = parser.parse_args()
    print(f"{processor()}, {os.cpu_count()} cores, {options.threads} threads, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as folder:
        models = {BUNDLED: options.model} | export_paper_size(Path(folder))
        benchmark = Benchmark(models, options.threads, options.patience, Path(folder))
        print("| separating | audio (s) | real-time factor | of the processor | peak memory (MB) |")
        print("|---|---|---|---|---|")
        figures = []
        for seconds in options.seconds:
            figures += print_figures(benchmark.separating(seconds, options.rounds))
        if options.hour:
            benchmark.patience = max(benchmark.patience, 1200)
            benchmark.names = list(models)
            figures += print_figures(benchmark.separating(3600, 1))
            benchmark.names = [*models, DPRNN, CONV_TASNET, SEPFORMER]
        starts = benchmark.whole_process(min(options.seconds), options.rounds)
    print_starts(starts, min(options.seconds))
    print_ratios(figures, starts)
    print_floor(options.threads)
    for name, why in benchmark.left_out.items():
        print(f"{name} left out: {why}")
    if options.json:
        runs = {name: [asdict(one) for one in done] for name, done in starts.items()}
        text = json.dumps({"separating": [asdict(one) for one in figures], "whole": runs}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


def export_paper_size(folder: Path) -> dict[str, str]:
    done = run([sys.executable, str(CONTENDERS), "export", str(folder)])
    if done.code != 0:
        print(f"{PAPER} left out: {done.errors.strip().splitlines()[-1]}\n")
        return {}
    return {PAPER: str(folder / "paper"), PAPER_8BIT: str(folder / "paper-8bit")}


def print_figures(figures: list[Figures]) -> list[Figures]:
    for one in figures:
        wall, cpu = statistics.median(one.wall_factors), statistics.median(one.cpu_factors)
        peak = statistics.median(one.peaks_mb)
        print(f"| {one.name} | {one.seconds:g} | {wall:.4f} | {cpu:.4f} | {peak:.0f} |", flush=True)
    return figures


def print_starts(starts: dict[str, list[Run]], seconds: float) -> None:
    print(f"\n| from start to exit on {seconds:g} s | taken (s) | of the processor (s) | peak memory (MB) |")
    print("|---|---|---|---|")
    for name, runs in starts.items():
        wall, cpu, peak = (
            statistics.median(getattr(one, of) for one in runs) for of in ("wall_s", "cpu_s", "peak_mb")
        )
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |")


def print_ratios(figures: list[Figures], starts: dict[str, list[Run]]) -> None:
    """What is promised beside the others."""
    print()
    at = {(one.name, one.seconds): one for one in figures}
    for (name, seconds), ours in at.items():
        if name in (PAPER, PAPER_8BIT) and (DPRNN, seconds) in at:
            theirs = at[DPRNN, seconds]
            wall, cpu = (
                statistics.median(getattr(theirs, of)) / statistics.median(getattr(ours, of))
                for of in ("wall_factors", "cpu_factors")
            )
            print(f"asteroid's DPRNN takes {wall:.1f} x {name} on {seconds:g} s, {cpu:.1f} x of the processor")
    for name in (DPRNN, CONV_TASNET, SEPFORMER):
        if name in starts and BUNDLED in starts:
            wall, cpu = (
                statistics.median(getattr(one, of) for one in starts[name])
                / statistics.median(getattr(one, of) for one in starts[BUNDLED])
                for of in ("wall_s", "cpu_s")
            )
            print(f"{name}: from start to exit {wall:.1f} x unbabble's, {cpu:.1f} x of the processor")


def print_floor(threads: int) -> None:
    done = run([sys.executable, str(CONTENDERS), "floor"], threads)
    if done.code == 0:
        print(
            f"floor of the paper's size, in fp32 on {threads} threads: a real-time factor of {float(done.output):.4f}"
        )


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
