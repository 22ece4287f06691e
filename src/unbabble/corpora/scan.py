"""Folders and manifests into a corpus: who says what, and for how long."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbabble.base.progress import UNWATCHED, Progress
from unbabble.corpora.corpus import Corpora, Corpus, Recording, check_disjoint
from unbabble.corpora.durations import measure_durations
from unbabble.corpora.manifest import MANIFEST_SUFFIXES, read_manifest
from unbabble.corpora.readers import Found, Kind, find_files
from unbabble.errors import CorpusError


@dataclass(frozen=True)
class Scan:
    """What was found."""

    corpus: Corpus
    unreadable: tuple[str, ...]  # one line each: path and reason


def scan_corpora(
    speech: Sequence[Path],
    noise: Sequence[Path],
    cache: Path | None = None,
    progress: Progress = UNWATCHED,
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
