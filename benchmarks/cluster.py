"""What a cluster costs, and how much faster two of its workers are than one: the figures of docs/cluster.md.

    python benchmarks/cluster.py [--recordings 24] [--seconds 120] [--rounds 3] [--json FILE]

A Ray cluster of one processor, one of two, and unbabble without one, in one process and in two (--jobs 2), separate
the same recordings of noise in turn; that they load the networks first is not counted. What two processes gain over
one is what the machine allows. Needs the extra ``cluster``, and a machine of at least two processors on which nothing
else runs.
"""

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import ray
from measured import write_noise

from unbabble import cluster
from unbabble.files import Options, find_jobs, run_jobs

RATE = 16000
SHORT_S = 0.5  # recordings of which nearly all is what they cost by themselves


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        long, short = Path(folder, "long"), Path(folder, "short")
        for place, seconds in ((long, options.seconds), (short, SHORT_S)):
            place.mkdir()
            for number in range(options.recordings):
                write_noise(place / f"{number}.wav", seconds, RATE)
        rounds = [measured(long, short, Path(folder, f"out{number}")) for number in range(options.rounds)]
    best = {name: min(one[name] for one in rounds) for name in rounds[0]}
    count, hours = options.recordings, options.recordings * options.seconds / 3600
    figures = {
        "seconds to start": best["start"],
        "processor hours an hour of audio": best["alone long"] / 3600 / hours,
        "ms a short recording, alone": 1000 * best["alone short"] / count,
        "ms a short recording, one worker": 1000 * best["one short"] / count,
        "ms overhead a recording": 1000 * (best["one short"] - best["alone short"]) / count,
        "speed of one worker over that of one process": best["alone long"] / best["one long"],
        "efficiency from one worker to two": best["one long"] / best["two long"] / 2,
        "efficiency from one process to two": best["alone long"] / best["both long"] / 2,
    }
    for name, figure in figures.items():
        print(f"{name}: {figure:.4g}")
    if options.json:
        options.json.write_text(json.dumps({"figures": figures, "rounds": rounds}, indent=2) + "\n")


def measured(long: Path, short: Path, out: Path) -> dict[str, float]:
    """Seconds of everything, once."""
    found = {}
    for name, place in (("long", long), ("short", short)):
        found[f"alone {name}"] = alone(place, out / f"alone-{name}", jobs=1)
    found["both long"] = alone(long, out / "both-long", jobs=2)
    for n_workers, name in ((1, "one"), (2, "two")):
        with closing(Workers(n_workers)) as workers:
            found["start"] = timed(partial(cluster.separate, short, out / f"{name}-first"))
            found[f"{name} long"] = timed(partial(cluster.separate, long, out / f"{name}-long"))
            found[f"{name} short"] = timed(partial(cluster.separate, short, out / f"{name}-short"))
            assert workers.n_workers == n_workers
    return found


class Workers:
    """A cluster on this machine."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

    def close(self) -> None:
        ray.shutdown()


def alone(place: Path, out: Path, jobs: int) -> float:
    """Of all recordings, by what those after the first take; each process has one thread."""
    options = Options(jobs=jobs, threads=jobs)
    ends = []
    for outcome in run_jobs(find_jobs([place], out, options), options):
        assert outcome.error is None, outcome.error
        ends.append(time.perf_counter())
    return (ends[-1] - ends[0]) / (len(ends) - 1) * len(ends)


def timed(work: Callable[[], list]) -> float:
    begun = time.perf_counter()
    failures = [outcome.error for outcome in work() if outcome.error]
    assert not failures, failures
    return time.perf_counter() - begun


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
