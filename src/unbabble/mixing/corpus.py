"""Who says what: folders of speech and noise, and their decoded audio."""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbabble.audio import AUDIO_SUFFIXES, read_mono
from unbabble.errors import CorpusError

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Corpus:
    """Recordings by the name of who or what is heard; names and paths are sorted."""

    recordings: dict[str, tuple[Path, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.recordings)

    def only(self, names: Iterable[str]) -> "Corpus":
        """The part with these names; names that the corpus lacks are passed over."""
        wanted = set(names)
        return Corpus({name: paths for name, paths in self.recordings.items() if name in wanted})

    def without(self, names: Iterable[str]) -> "Corpus":
        """The part without these names."""
        return self.only(set(self.recordings) - set(names))


def scan_speech(folders: Sequence[Path]) -> Corpus:
    """Folders laid out as ``<speaker>/**/<file>``: a speaker is a folder just below; any depth beneath it.

    Raises CorpusError where a folder is missing or holds no speaker with audio.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in _audio_files(folder, "speech"):
            inside = path.relative_to(folder).parts
            if len(inside) > 1:
                found.setdefault(inside[0], []).append(path)
    if not found:
        raise CorpusError(
            f"{_listed(folders)}: no speakers found; expected <speaker>/<file> with files of "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}"
        )
    return Corpus({name: tuple(paths) for name, paths in sorted(found.items())})


def scan_noise(folders: Sequence[Path]) -> Corpus:
    """Folders of noises at any depth, named by the stems of their files.

    Raises CorpusError where a folder is missing or holds no audio.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in _audio_files(folder, "noise"):
            found.setdefault(path.stem, []).append(path)
    if not found:
        raise CorpusError(f"{_listed(folders)}: no noise recordings found")
    return Corpus({name: tuple(paths) for name, paths in sorted(found.items())})


def read_split(path: Path, split: str) -> tuple[str, ...]:
    """Names of the speakers and noises of a split, from JSON: ``{split: {corpus: [name, ...]}}``.

    Raises CorpusError where the file cannot be read or has no such split.
    """
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
        names = {key: tuple(n for corpus in value.values() for n in corpus) for key, value in splits.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(
            f"{path}: not a readable split file ({error}); expected {{split: {{corpus: [name]}}}}"
        ) from None
    if split not in names:
        raise CorpusError(f"{path}: no split called {split!r}; it has {', '.join(names)}")
    return names[split]


class DecodedAudio:
    """Recordings at one sample rate, decoded when first asked for and kept as 16-bit samples.

    keep: how many decoded recordings to hold at most (the oldest goes first); None keeps all.
    """

    def __init__(self, sample_rate: int, keep: int | None = None) -> None:
        self.sample_rate = sample_rate
        self.keep = keep
        self._decoded: dict[Path, NDArray[np.int16]] = {}

    def __call__(self, path: Path) -> Samples:
        """Samples (n,), float32, full scale 1. Raises AudioError where the file cannot be read."""
        if path not in self._decoded:
            if self.keep is not None and len(self._decoded) >= self.keep:
                del self._decoded[next(iter(self._decoded))]
            self._decoded[path] = self._decode(path)
        return self._decoded[path].astype(np.float32) / np.float32(32768)

    def load(self, corpus: Corpus, jobs: int = 4) -> float:
        """Decode a whole corpus beforehand; returns its hours."""
        paths = [path for group in corpus.recordings.values() for path in group]
        with ThreadPoolExecutor(jobs) as pool:
            self._decoded.update(zip(paths, pool.map(self._decode, paths), strict=True))
        return sum(self._decoded[path].size for path in paths) / self.sample_rate / 3600

    def _decode(self, path: Path) -> NDArray[np.int16]:
        samples = read_mono(path, self.sample_rate)
        return (samples * 32767).round().clip(-32768, 32767).astype(np.int16)


def _audio_files(folder: Path, what: str) -> list[Path]:
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder of {what}")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(str(folder) for folder in folders) or "no folder given"
