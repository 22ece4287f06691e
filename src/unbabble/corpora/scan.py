"""Folders and manifests into a corpus: who says what, and for how long.

Files are not decoded for that, and what is known of them is remembered, so that they need not be opened again.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from unbabble.audio import SHORTEST_S, check_end, declares_length, open_recording
from unbabble.audio.ffmpeg import count_packets
from unbabble.base.output import write_whole, writing
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.base.reading import from_json
from unbabble.corpora.corpus import Corpora, Corpus, Recording, check_disjoint
from unbabble.corpora.manifest import MANIFEST_SUFFIXES, read_manifest
from unbabble.corpora.readers import Found, Kind, find_files
from unbabble.errors import AudioError, CorpusError, in_one_line

CHECKED_SUFFIXES = (".wav", ".flac")  # whose ends show whether they are whole
COUNTED_SUFFIXES = (".mp3", ".aac")  # their headers lack the length, guess it or are wrong
PADDING_S = 0.1  # at most, what an encoder adds to fill its packets


@dataclass(frozen=True)
class Scan:
    """What was found."""

    corpus: Corpus
    unreadable: tuple[str, ...]  # one line each: path and reason


def scan_corpora(
    speech: Sequence[Path], noise: Sequence[Path], cache: Path | None = None, progress: Progress = UNWATCHED
) -> Corpora:
    """Scan folders and manifests of speech and of noise; see ``scan``. cache: a folder for both."""
    spoken = scan(speech, "speech", cache=cache and cache / "speech.jsonl", progress=progress)
    if not noise:
        return Corpora(spoken.corpus, None, spoken.unreadable)
    noisy = scan(noise, "noise", cache=cache and cache / "noise.jsonl", progress=progress)
    return Corpora(spoken.corpus, noisy.corpus, spoken.unreadable + noisy.unreadable)


def check_sources(sources: Sequence[Path]) -> None:
    """Raise CorpusError where there are no places to scan, or one of them is missing."""
    if not sources:
        raise CorpusError("no source given: no recordings; expected folders or manifests of recordings")
    for source in sources:
        if os.path.exists(source):
            continue
        if source.suffix.lower() in MANIFEST_SUFFIXES:
            read_manifest(source)  # says why it cannot be
        else:
            raise CorpusError(f"{source}: no such folder; expected a corpus folder, or a manifest (.csv, .jsonl)")


def scan(
    sources: Sequence[Path],
    kind: Kind,
    *,
    layout: str = "auto",
    cache: Path | None = None,
    jobs: int | None = None,
    progress: Progress = UNWATCHED,
) -> Scan:
    """The speech or the noise in some places.

    Parameters
    ----------
    sources
        Corpus folders, and manifests (.csv, .jsonl), which are taken as they are.
    kind
        "speech" or "noise".
    layout
        A name in ``LAYOUTS[kind]`` for the folders, or "auto" to recognise each.
    cache
        A .jsonl file that keeps durations, so that a later scan opens only files that are new or changed.
    jobs
        Threads; None for as many as suit the machine.
    progress
        Told how many files are done.

    Raises
    ------
    CorpusError
        Where a source is missing or holds nothing of the kind, nothing can be read, or a speaker is in two splits.
    OutputError
        Where the cache cannot be written.
    """
    check_sources(sources)
    listed: list[tuple[int, Recording]] = []
    found: list[tuple[int, Found]] = []
    for number, source in enumerate((path.absolute() for path in sources), start=1):
        if source.suffix.lower() in MANIFEST_SUFFIXES and not source.is_dir():
            listed += [(number, recording) for recording in read_manifest(source).recordings]
        else:
            found += [(number, file) for file in find_files(source, kind, layout)]
    durations, unreadable = measure_durations([file.path for _, file in found], cache, jobs, progress)
    recordings = listed + [
        (number, Recording(file.name, file.key, file.path, durations[file.path], file.split, file.gender))
        for number, file in found
        if file.path in durations
    ]
    if not recordings:
        reason = f"none of {len(unreadable)} files can be read: {unreadable[0]}" if unreadable else "no recordings"
        places = ", ".join(str(source) for source in sources)
        raise CorpusError(f"{places}: {reason}; expected folders or manifests of recordings")
    corpus = Corpus(_with_own_keys(recordings))
    if kind == "speech":
        check_disjoint(corpus)
    return Scan(corpus, unreadable)


def _with_own_keys(recordings: Iterable[tuple[int, Recording]]) -> tuple[Recording, ...]:
    """Each file once; the number of its source begins its key where files of several sources have the same."""
    once = {recording.path: (number, recording) for number, recording in recordings}.values()
    uses = Counter(recording.key for _, recording in once)
    return tuple(one if uses[one.key] == 1 else replace(one, key=f"{number}/{one.key}") for number, one in once)


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

    Parameters
    ----------
    paths
        Of the files.
    cache
        A .jsonl file of durations, read if it is there and fit for that, and written if anything is new.
    jobs
        Threads; None: as many as suit the machine.
    progress
        Told what goes on.

    Raises
    ------
    OutputError
        Where the cache cannot be written.
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
        return in_one_line(error)


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
