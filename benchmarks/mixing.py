"""How fast training mixtures are made: per second and core, and where the time goes.

    python benchmarks/mixing.py [--speech DIR --noise DIR] [--device cuda]

Mixtures of the paper's recipe, 4 s with a room and noise, drawn from decoded audio on disk and a bank of rooms:
mixed on one processor core, and mixed on a device from what one core reads. Without folders, white noise stands
for speech, which takes as long. Prints a table; --json FILE writes the figures.
"""

import argparse
import json
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from unbabble.corpora.corpus import Corpora
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.mixing import render
from unbabble.mixing.bank import Rooms, make_bank
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.on_device import DeviceMixer, ResponseTable
from unbabble.mixing.recipe import paper_mixtures
from unbabble.training.datasets import DryDataset

RATE = 16000


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        corpora = read_corpora(options, Path(folder))
        audio = DecodedAudio(RATE, Path(folder) / "decoded")
        audio.load(corpora.speech)
        if corpora.noise:
            audio.load(corpora.noise)
        mixtures = paper_mixtures()
        room = mixtures[0].recipe.room
        rooms = Rooms(RATE, {room: make_bank(room, options.rooms, 3, RATE, 0, jobs=2)})
        mixer = Mixer(corpora.speech, corpora.noise, mixtures, audio, rooms=rooms)
        rows = [
            measure_processor(mixer, audio, options),
            *measure_device(mixer, rooms, audio, options),
        ]
    print(f"{platform.machine()}, Python {platform.python_version()}; {options.count} mixtures of 4 s, one core\n")
    print("| what | mixtures / s | read | convolve | rest |")
    print("|---|---|---|---|---|")
    for row in rows:
        shares = " | ".join(f"{row[part]:.0%}" if part in row else "" for part in ("read", "convolve", "rest"))
        print(f"| {row['what']} | {row['mixtures_per_s']:.0f} | {shares} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, action="append", help="corpus folder or manifest")
    parser.add_argument("--noise", type=Path, action="append", help="folder or manifest of noises")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--count", type=int, default=200, help="mixtures to time")
    parser.add_argument("--batch", type=int, default=16, help="mixtures that the device mixes at once")
    parser.add_argument("--rooms", type=int, default=100, help="rooms in the bank")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def read_corpora(options: argparse.Namespace, folder: Path) -> Corpora:
    if options.speech:
        return scan_corpora(options.speech, options.noise or [])
    rng = np.random.default_rng(0)
    for number in range(10):
        for kind in ("speech", "noise"):
            path = folder / kind / f"{kind}{number}" / "0.flac"
            path.parent.mkdir(parents=True)
            soundfile.write(path, 0.1 * rng.standard_normal(15 * RATE), RATE)
    return scan_corpora([folder / "speech"], [folder / "noise"])


def measure_processor(mixer: Mixer, audio: DecodedAudio, options: argparse.Namespace) -> dict[str, Any]:
    mixer(0)
    with timed([(audio, "read"), (render, "convolve")]) as spent:
        started = time.perf_counter()
        for index in range(options.count):
            mixer(index)
        whole = time.perf_counter() - started
    return {"what": "mixed on the core", **shares(whole, spent, options.count)}


def measure_device(
    mixer: Mixer, rooms: Rooms, audio: DecodedAudio, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    table = ResponseTable(rooms, ("reverberant",))
    dataset = DryDataset(options.count, mixer, table, 2)
    mix = DeviceMixer(table).to(options.device)
    with timed([(audio, "read")]) as spent:
        started = time.perf_counter()
        items = [dataset[index] for index in range(options.count)]
        whole = time.perf_counter() - started
    yield {"what": "read on the core, to be mixed on the device", **shares(whole, spent, options.count)}
    batches = [
        tuple(
            torch.stack(parts).to(options.device) for parts in zip(*items[first : first + options.batch], strict=True)
        )
        for first in range(0, options.count - options.batch + 1, options.batch)
    ]
    mix(batches[0])
    settle(options.device)
    started = time.perf_counter()
    for batch in batches:
        mix(batch)
    settle(options.device)
    n_mixed = len(batches) * options.batch
    yield {
        "what": f"mixed on {options.device}, {options.batch} at once",
        "mixtures_per_s": n_mixed / (time.perf_counter() - started),
    }


@contextmanager
def timed(functions: list[tuple[Any, str]]) -> Iterator[Counter[str]]:
    """Seconds spent in functions, by their names, while the block runs."""
    spent: Counter[str] = Counter()

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - started

        return run

    originals = [(owner, name, getattr(owner, name)) for owner, name in functions]
    try:
        for owner, name, function in originals:
            setattr(owner, name, watched(name, function))
        yield spent
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def shares(whole: float, spent: Counter[str], count: int) -> dict[str, float]:
    parts = {name: seconds / whole for name, seconds in spent.items()}
    return {"mixtures_per_s": count / whole, **parts, "rest": 1 - sum(parts.values())}


def settle(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
