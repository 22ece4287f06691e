"""How long many files are, without decoding them, and the cache that spares opening them again."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from unbabble.audio import SHORTEST_S, check_end, declares_length, open_recording
from unbabble.audio.ffmpeg import count_packets
from unbabble.base.output import write_whole, writing
from unbabble.base.progress import Progress
from unbabble.base.reading import from_json
from unbabble.errors import AudioError

CHECKED_SUFFIXES = (".wav", ".flac")  # whose ends show whether they are whole
COUNTED_SUFFIXES = (".mp3", ".aac")  # their headers lack the length, guess it or are wrong
PADDING_S = 0.1  # at most, what an encoder adds to fill its packets


@dataclass(frozen=True)
class Measured:
    """The duration of a file, and by what to know that it is still the same file."""

    path: str
    size: int  # bytes
    modified: int  # ns
    duration_s: float


def measure_durations(
    paths: Sequence[Path], cache: Path | None, jobs: int | None, progress: Progress
) -> tuple[dict[Path, float], tuple[str, ...]]:
    """Seconds of each file that can be read, and a line for each that cannot be, which says why.

    cache: a .jsonl file of durations, read if it is there and fit for that, and written if anything is new.
    jobs: threads; None for as many as suit the machine. Raises OutputError where the cache cannot be written.
    """
    known = _read_cache(cache) if cache else {}
    durations: dict[Path, float] = {}
    unreadable = []
    measured = dict(known)
    with ThreadPoolExecutor(jobs) as pool, progress.task("scanning") as advance:
        results = pool.map(lambda path: _measure(path, known), paths)
        for done, (path, result) in enumerate(zip(paths, results, strict=True), 1):
            if isinstance(result, Measured):
                durations[path] = result.duration_s
                measured[result.path] = result
            else:
                unreadable.append(result)
            advance(done, len(paths))
    if cache and measured != known:
        _write_cache(cache, measured)
    return durations, tuple(unreadable)


def read_duration_s(path: Path) -> float:
    """Seconds from the header, or from counting packets where headers may lie. Raises AudioError, also for less
    audio than promised: decoding such a file would end in an error."""
    with open_recording(path) as recording:
        duration_s = recording.duration_s
    if duration_s is None or path.suffix.lower() in COUNTED_SUFFIXES:
        counted_s = count_packets(path)
        if duration_s is not None and declares_length(path) and counted_s < duration_s - PADDING_S:
            raise AudioError(
                f"{path}: its header promises {duration_s:.2f} s, but {counted_s:.2f} s are there; "
                "copy or download it again, or convert what is left to wav"
            )
        # An honest header knows better: it leaves out the padding in the last packets.
        if duration_s is None or abs(counted_s - duration_s) > PADDING_S:
            duration_s = counted_s
    elif path.suffix.lower() in CHECKED_SUFFIXES:
        check_end(path)
    if duration_s < SHORTEST_S:
        raise AudioError(f"{path}: {duration_s * 1000:.0f} ms of audio; expected at least {SHORTEST_S * 1000:.0f} ms")
    return duration_s


def _measure(path: Path, known: Mapping[str, Measured]) -> Measured | str:
    """From the cache where the file has not changed; a line where it cannot be read."""
    try:
        status = path.stat()
        before = known.get(str(path))
        if before and (before.size, before.modified) == (status.st_size, status.st_mtime_ns):
            return before
        return Measured(str(path), status.st_size, status.st_mtime_ns, read_duration_s(path))
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}; check the name and the permissions"
    except AudioError as error:
        return " ".join(str(error).split())


def _read_cache(cache: Path) -> dict[str, Measured]:
    try:
        entries = [Measured(**from_json(line)) for line in cache.read_text(encoding="utf-8").splitlines()]
        return {entry.path: entry for entry in entries}
    except (OSError, ValueError, TypeError):
        return {}


def _write_cache(cache: Path, measured: Mapping[str, Measured]) -> None:
    lines = [json.dumps(asdict(measured[path])) + "\n" for path in sorted(measured)]
    with writing(cache):
        cache.parent.mkdir(parents=True, exist_ok=True)
    write_whole(cache, "".join(lines).encode())
