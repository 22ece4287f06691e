"""Tracks side by side, one file each, as they are made."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np
import soundfile

from unbabble.audio.recording import BLOCK, TAGS, Samples
from unbabble.audio.wav import WavFile, as_integers
from unbabble.base.output import writing

TrackFormat = Literal["wav16", "wav24", "wav32", "flac"]
TRACK_FORMATS: tuple[TrackFormat, ...] = get_args(TrackFormat)
Write = Callable[[Samples], object]


def suffix_of(track_format: TrackFormat) -> str:
    """How names of such files end: ``.wav`` or ``.flac``."""
    return ".flac" if track_format == "flac" else ".wav"


class TrackWriter:
    """Writes tracks side by side, one file of one channel for each path; a context manager.

    ``wav32`` (floats, which do not clip) is written as it comes. ``wav16``, ``wav24`` and ``flac`` (24 bits) wait
    as floats in a nameless file beside their place until the whole is known; then they are scaled together where
    the loudest would clip.

    Parameters
    ----------
    paths
        A file for each track.
    sample_rate
        In Hz.
    track_format
        One of ``TRACK_FORMATS``.
    tags
        Title, artist, album, date, comment ... of the recording, for each file.

    Attributes
    ----------
    peaks
        The largest magnitude of each track so far, before scaling.
    n_samples
        The length of each so far.
    gain
        By what the tracks were multiplied, known after the end.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sample_rate: int,
        track_format: TrackFormat = "wav32",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.peaks = [0.0] * len(paths)
        self.n_samples = 0
        self.gain = 1.0
        self._paths, self._sample_rate, self._format, self._tags = list(paths), sample_rate, track_format, tags or {}
        self._dropped: set[int] = set()
        self._writes: list[Write] = []
        self._waiting: list[IO[bytes]] = []

    def __enter__(self) -> "TrackWriter":
        with ExitStack() as opened:
            for path in self._paths:
                if self._format == "wav32":
                    self._writes.append(opened.enter_context(self._encoded(path)))
                else:
                    with writing(path):  # without a buffer: to close one on a full disk would fail again
                        file = opened.enter_context(tempfile.TemporaryFile(dir=path.parent, buffering=0))
                    self._waiting.append(file)
                    self._writes.append(partial(_write_floats, file))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        with self._opened:
            if failed is None:
                self._encode_waiting()
        for index in self._dropped:
            self._paths[index].unlink(missing_ok=True)

    def write(self, block: Samples) -> None:
        """Append (tracks, samples) of full scale 1. Raises OutputError where the disk takes no more."""
        self.n_samples += block.shape[1]
        for index, (path, samples) in enumerate(zip(self._paths, block, strict=True)):
            self.peaks[index] = max(self.peaks[index], float(np.abs(samples).max(initial=0.0)))
            with writing(path):
                self._writes[index](np.ascontiguousarray(samples, np.float32))

    def drop(self, indices: Collection[int]) -> None:
        """Leave tracks out of the result; they count for no scaling."""
        self._dropped.update(indices)

    def _encode_waiting(self) -> None:
        kept = [index for index in range(len(self._waiting)) if index not in self._dropped]
        self.gain = 1 / max(1.0, *(self.peaks[index] for index in kept)) if kept else 1.0
        for index in kept:
            file, path = self._waiting[index], self._paths[index]
            with self._encoded(path) as write, writing(path):
                file.seek(0)
                while data := file.read(4 * BLOCK):
                    write(np.frombuffer(data, np.float32) * np.float32(self.gain))

    @contextmanager
    def _encoded(self, path: Path) -> Iterator[Write]:
        """A file in the format asked for, as a function that appends samples."""
        with ExitStack() as stack:
            stack.enter_context(writing(path))
            if self._format == "flac":
                flac = stack.enter_context(
                    soundfile.SoundFile(path, "w", self._sample_rate, 1, subtype="PCM_24", format="FLAC")
                )
                for name in TAGS & self._tags.keys():
                    setattr(flac, name, self._tags[name])
                yield lambda samples: flac.write(as_integers(samples, 24) << 8)
            else:
                file = stack.enter_context(path.open("wb"))
                wav = stack.enter_context(WavFile(file, self._sample_rate, 1, self._format, self._tags))
                yield lambda samples: wav.write(samples[np.newaxis])


def _write_floats(file: IO[bytes], samples: Samples) -> None:
    rest = memoryview(samples.tobytes())
    while rest:
        rest = rest[file.write(rest) :]
