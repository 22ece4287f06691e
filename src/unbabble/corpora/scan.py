"""Folders and manifests into a corpus: who says what, and for how long."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbabble.base.progress import Progress, unwatched
from unbabble.corpora.corpus import Corpus, Recording, check_disjoint
from unbabble.corpora.durations import measure_durations
from unbabble.corpora.manifest import MANIFEST_SUFFIXES, read_manifest
from unbabble.corpora.readers import NOISE_LAYOUTS, SPEECH_LAYOUTS, Found, Reader, find_files
from unbabble.errors import CorpusError


@dataclass(frozen=True)
class Scan:
    """What was found."""

    corpus: Corpus
    unreadable: tuple[str, ...]  # one line each: path and reason


def scan_speech(
    sources: Sequence[Path],
    *,
    layout: str = "auto",
    cache: Path | None = None,
    jobs: int | None = None,
    progress: Progress = unwatched,
) -> Scan:
    """The speech in ``sources``: corpus folders, and manifests (.csv, .jsonl), which are taken as they are.

    layout: a name in SPEECH_LAYOUTS for the folders, or "auto" to recognise each.
    cache: a .jsonl file that keeps durations, so that a later scan opens only files that are new or changed.
    jobs: threads; None for as many as suit the machine.
    progress: called with the number of files done and of files in all.
    Raises CorpusError where a source is missing or holds no speakers, nothing can be read, or a speaker is in two
    splits; OutputError where the cache cannot be written.
    """
    scan = _scan(sources, SPEECH_LAYOUTS, layout, cache, jobs, progress)
    check_disjoint(scan.corpus)
    return scan


def scan_noise(
    sources: Sequence[Path],
    *,
    layout: str = "auto",
    cache: Path | None = None,
    jobs: int | None = None,
    progress: Progress = unwatched,
) -> Scan:
    """The noise in ``sources``, as ``scan_speech``, with the layouts in NOISE_LAYOUTS."""
    return _scan(sources, NOISE_LAYOUTS, layout, cache, jobs, progress)


def _scan(
    sources: Sequence[Path],
    layouts: dict[str, Reader],
    layout: str,
    cache: Path | None,
    jobs: int | None,
    progress: Progress,
) -> Scan:
    manifests: dict[int, tuple[Recording, ...]] = {}
    found: dict[int, list[Found]] = {}
    for number, source in enumerate((path.absolute() for path in sources), start=1):
        if source.suffix.lower() in MANIFEST_SUFFIXES and not source.is_dir():
            manifests[number] = read_manifest(source).recordings
        else:
            found[number] = find_files(source, layouts, layout)
    paths = [file.path for files in found.values() for file in files]
    durations, unreadable = measure_durations(paths, cache, jobs, progress)
    recordings = [(number, one) for number, listed in manifests.items() for one in listed]
    recordings += [
        (number, Recording(file.name, file.key, file.path, durations[file.path], file.split, file.gender))
        for number, files in found.items()
        for file in files
        if file.path in durations
    ]
    if not recordings:
        reason = f"none of {len(unreadable)} files can be read: {unreadable[0]}" if unreadable else "no recordings"
        listed = ", ".join(str(source) for source in sources) or "no source given"
        raise CorpusError(f"{listed}: {reason}; expected folders or manifests of recordings")
    return Scan(Corpus(_with_own_keys(recordings)), unreadable)


def _with_own_keys(recordings: Iterable[tuple[int, Recording]]) -> tuple[Recording, ...]:
    """Each file once; the number of its source begins its key where files of several sources have the same."""
    once = {recording.path: (number, recording) for number, recording in recordings}.values()
    uses = Counter(recording.key for _, recording in once)
    return tuple(one if uses[one.key] == 1 else replace(one, key=f"{number}/{one.key}") for number, one in once)
