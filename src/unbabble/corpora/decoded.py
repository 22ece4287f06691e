"""Decoded audio, kept as 16-bit samples: in memory, or in a folder of files that processes share."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbabble.audio import read_mono
from unbabble.base.output import write_whole, writing
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.corpora.corpus import Corpus
from unbabble.errors import AudioError

Samples = NDArray[np.float32]
RECENT = 16  # excerpts held: a mixture is drawn from them and then rendered


class DecodedAudio:
    """Recordings as one channel at one sample rate, decoded when first asked for.

    folder: where decoded samples are kept as files, which are memory-mapped, so that processes share them and
    the next run finds them; None keeps them in memory. keep: how many to hold in memory at most (the oldest
    goes first); None keeps all. Raises AudioError where a file cannot be read, OutputError where the folder
    cannot be written. unreadable: why, of every such file that was asked for.
    """

    def __init__(self, sample_rate: int, folder: Path | None = None, keep: int | None = None) -> None:
        self.sample_rate, self.folder, self.keep = sample_rate, folder, keep
        self.unreadable: dict[Path, AudioError] = {}
        self._held: dict[Path, NDArray[np.int16]] = {}
        self._recent: dict[tuple[Path, int, int | None], Samples] = {}

    def length(self, path: Path) -> int:
        """Samples of a recording."""
        return int(self._samples(path).size)

    def read(self, path: Path, start: int = 0, length: int | None = None) -> Samples:
        """Samples [start, start + length) as far as there are any: (n,), float32, full scale 1; not to be changed."""
        known = path, start, length
        if known not in self._recent:
            stop = None if length is None else start + length
            excerpt = self._samples(path)[start:stop].astype(np.float32) / np.float32(32768)
            excerpt.flags.writeable = False
            if len(self._recent) >= RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent[known] = excerpt
        return self._recent[known]

    def load(self, corpus: Corpus, jobs: int = 4, progress: Progress = UNWATCHED) -> None:
        """Decode a whole corpus beforehand; what cannot be read is in ``unreadable`` then."""
        paths = [recording.path for recording in corpus.recordings]
        with ThreadPoolExecutor(jobs) as pool, progress.task("decoding") as advance:
            for done, _ in enumerate(pool.map(self._try, paths), start=1):
                advance(done, len(paths))

    def _try(self, path: Path) -> None:
        with suppress(AudioError):
            self._samples(path)

    def _samples(self, path: Path) -> NDArray[np.int16]:
        if self.folder is not None:
            return self._mapped(path, self.folder)
        held = self._held.get(path)
        if held is None:
            held = self._decode(path)
            if self.keep is not None and len(self._held) >= self.keep:
                del self._held[next(iter(self._held))]
            self._held[path] = held
        return held

    def _mapped(self, path: Path, folder: Path) -> NDArray[np.int16]:
        file = self._file(path, folder)
        if not file.exists():
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write_whole(file, self._decode(path).tobytes())
        empty = file.stat().st_size == 0  # which cannot be mapped
        return np.zeros(0, np.int16) if empty else np.memmap(file, np.int16, mode="r")

    def _file(self, path: Path, folder: Path) -> Path:
        """Named by all that its samples depend on, so that a changed recording is decoded again."""
        facts = path.stat() if path.exists() else None
        known = (str(path.absolute()), facts and facts.st_size, facts and facts.st_mtime_ns, self.sample_rate)
        return folder / f"{hashlib.sha256(repr(known).encode()).hexdigest()[:32]}.s16"

    def _decode(self, path: Path) -> NDArray[np.int16]:
        if path in self.unreadable:
            raise self.unreadable[path]
        try:
            samples = read_mono(path, self.sample_rate)
        except AudioError as error:
            self.unreadable[path] = error
            raise
        return (samples * 32767).round().clip(-32768, 32767).astype(np.int16)
