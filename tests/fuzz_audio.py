"""Damages small valid recordings in every way, and reads what is left: from the file and through a pipe.

python fuzz_audio.py FOLDER COUNT MODEL [FIRST]: a process of its own, so that a crash of a decoder or a hang ends it
and leaves the file that did it in FOLDER/current. Prints a tally as JSON: what became of each kind of damage.
"""

import json
import random
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from audio_files import EVERY_FORMAT, RATES_HZ, Unseekable, encode, write_format

from unbabble import separate
from unbabble.audio import open_recording, open_stream
from unbabble.audio.recording import BLOCK
from unbabble.errors import AudioError
from unbabble.evaluation.speed import peak_memory_mb

HANGS_AFTER_S = 20
SEPARATED = 20  # one of so many is separated too, for which a decoded one takes long
LIES = (0, 1, 2**31 - 1, 2**32 - 1, 10**9, 2**63 - 1, 2**64 - 1)  # lengths, rates, channels


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 10, 200))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 10)):
        data[rng.randrange(min(len(data), 200))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def lie(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 4)):
        width = rng.choice((2, 4, 8))
        start = rng.randrange(min(rng.choice((60, 400, len(data))), len(data)) - width)
        number = rng.choice(LIES) % 2 ** (8 * width)
        data[start : start + width] = number.to_bytes(width, rng.choice(("little", "big")))


def cut_end(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def cut_middle(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 5000)]


def insert_noise(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randrange(1, 5000))


def blank(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    length = min(rng.randrange(1, 5000), len(data) - start)
    data[start : start + length] = bytes(length)


def rotate(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[:] = data[start:] + data[:start]


def replace_all(data: bytearray, rng: random.Random) -> None:
    data[rng.choice((0, 4, 16, 64, 300)) :] = rng.randbytes(rng.randrange(1, 20000))


DAMAGES = (flip_bits, flip_header, lie, lie, cut_end, cut_middle, insert_noise, blank, rotate, replace_all)


def read(opened) -> None:
    """Decode; finite blocks of the stated channels, of bounded size."""
    with opened as recording:
        for block in recording.blocks:
            assert block.dtype == np.float32
            assert block.shape[0] == recording.n_channels
            assert block.size <= BLOCK
            assert np.isfinite(block).all()


def outcome(attempt, name: str) -> str:
    """What became of an attempt; anything but samples or an error of one line that names the input ends the run."""
    try:
        attempt()
    except AudioError as error:
        message = str(error)
        assert message.startswith(f"{name}: "), message
        assert message.count(";") >= 1, message  # what to do
        assert "\n" not in message, message
        return "refused"
    return "decoded"


def separate_to(folder: Path, path: Path, model: str) -> None:
    """The whole way; what is refused leaves no file."""
    shutil.rmtree(folder, ignore_errors=True)
    (done,) = separate(path, folder, model=model, threads=1)
    if done.error is not None:
        assert not [left for left in folder.rglob("*") if left.is_file()], f"{path}: refused, but files are left"
        raise done.error


def main(folder: Path, count: int, model: str, first: int = 0) -> None:
    rng = np.random.default_rng(0)
    (folder / "valid").mkdir(parents=True)
    (folder / "current").mkdir()
    valid = {}
    for name in EVERY_FORMAT:
        rate = RATES_HZ.get(name, 48000)
        noise = rng.uniform(-0.3, 0.3, rate // 4).astype(np.float32)
        valid[name] = write_format(folder / "valid", name, noise, rate).read_bytes()
    encode(folder / "valid" / "surround.m4a", np.tile(noise, (8, 1)), rate, "aac")
    valid["surround.m4a"] = (folder / "valid" / "surround.m4a").read_bytes()
    tally: Counter[str] = Counter()
    for number in range(first, first + count):
        chance = random.Random(number)
        name, damage = list(valid)[number % len(valid)], chance.choice(DAMAGES)
        data = bytearray(valid[name])
        damage(data, chance)
        path = folder / "current" / f"{number}-{damage.__name__}-{name}"
        path.write_bytes(data)
        signal.alarm(HANGS_AFTER_S)
        from_file = outcome(lambda path=path: read(open_recording(path)), str(path))
        piped = outcome(lambda data=data: read(open_stream(Unseekable(data))), "standard input")
        tally[f"{damage.__name__}: file {from_file}"] += 1
        tally[f"{damage.__name__}: pipe {piped}"] += 1
        if number % SEPARATED == 0:
            separated = outcome(lambda path=path: separate_to(folder / "out", path, model), str(path))
            tally[f"{damage.__name__}: separation {separated}"] += 1
        path.unlink()
    print(json.dumps({"tally": tally, "peak_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
