"""Tracks as files: their format, and writing several side by side as they are made.

Wav is written by hand, a plain header up to 4 GiB, RF64 above (EBU Tech 3306). libsndfile writes either kind, but
must know which before the first sample; and it stamps the time into the file, so that no two runs give the same
bytes. PyAV's muxer (``rf64=auto``, bitexact) writes the same headers, beyond 4 GiB too, but FFmpeg takes longer to
load than a short recording to decode, and of a full disk it does not tell the reason.
"""

import struct
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from unbabble.audio.recording import BLOCK, TAGS, Samples
from unbabble.base.output import writing
from unbabble.errors import ArgumentError

TRACK_BITS = {"wav": (32, 24, 16), "flac": (24,)}  # of a sample, by container, the default first
FLOAT_BITS = 32
INFO_CHUNKS = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "date": b"ICRD",
    "genre": b"IGNR",
    "comment": b"ICMT",
    "copyright": b"ICOP",
    "tracknumber": b"ITRK",
}
UNKNOWN = 0xFFFFFFFF  # where a 32-bit length would stand
LONGEST_PLAIN = UNKNOWN - 1  # bytes after the first eight

Write = Callable[[Samples], object]
"""Appends samples (samples,) to a file."""


@dataclass(frozen=True)
class TrackFormat:
    """How a track is written.

    Parameters
    ----------
    container
        ``wav`` or ``flac``.
    bits
        Of a sample: 16, 24 or 32 (floats, which do not clip) in a wav, 24 in a flac.

    Raises
    ------
    ValueError
        For any other.
    """

    container: str
    bits: int

    def __post_init__(self) -> None:
        possible = TRACK_BITS.get(self.container)
        if possible is None:
            raise ArgumentError(f"format {self.container!r} is not one of {', '.join(TRACK_BITS)}")
        if self.bits not in possible:
            raise ArgumentError(f"{self.container} has {' or '.join(map(str, possible))} bits, not {self.bits}")

    @classmethod
    def of(cls, container: str, bits: int | None = None) -> "TrackFormat":
        """A format, by default of the most bits. Raises ValueError."""
        return cls(container, TRACK_BITS.get(container, (0,))[0] if bits is None else bits)

    @property
    def name(self) -> str:
        """As sidecars say it: wav16, wav24, wav32, flac."""
        return self.container if self.container == "flac" else f"{self.container}{self.bits}"

    @property
    def suffix(self) -> str:
        """With which names of such files end."""
        return f".{self.container}"

    @property
    def clips(self) -> bool:
        """Whether samples beyond full scale cannot be written."""
        return self.bits < FLOAT_BITS

    @contextmanager
    def open(self, path: Path, sample_rate: int, tags: Mapping[str, str]) -> Iterator[Write]:
        """A file of one channel, as a function that appends samples. Raises OutputError on entering and leaving."""
        with ExitStack() as stack:
            stack.enter_context(writing(path))
            if self.container == "flac":
                flac = stack.enter_context(
                    soundfile.SoundFile(path, "w", sample_rate, 1, subtype="PCM_24", format="FLAC")
                )
                for name in TAGS & tags.keys():
                    setattr(flac, name, tags[name])
                yield lambda samples: flac.write(as_integers(samples, 24) << 8)
            else:
                file = stack.enter_context(path.open("wb"))
                wav = stack.enter_context(WavFile(file, sample_rate, 1, self.bits, tags))
                yield lambda samples: wav.write(samples[np.newaxis])


class TrackWriter:
    """Writes tracks side by side, one file of one channel for each path; a context manager.

    Floats are written as they come. What clips waits, as floats in a nameless file beside its place, until the whole
    is known; then all tracks are scaled together where the loudest would clip.

    Parameters
    ----------
    paths
        A file for each track.
    sample_rate
        In Hz.
    track_format
        Of all of them.
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
        track_format: TrackFormat,
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
                if not self._format.clips:
                    self._writes.append(opened.enter_context(self._format.open(path, self._sample_rate, self._tags)))
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
            with self._format.open(path, self._sample_rate, self._tags) as write, writing(path):
                file.seek(0)
                while data := file.read(4 * BLOCK):
                    write(np.frombuffer(data, np.float32) * np.float32(self.gain))


def _write_floats(file: IO[bytes], samples: Samples) -> None:
    rest = memoryview(samples.tobytes())
    while rest:
        rest = rest[file.write(rest) :]


class WavFile:
    """A wav that grows block by block, a context manager.

    Parameters
    ----------
    file
        Open for writing in binary, and left open. Where it cannot seek (a pipe), the header leaves the length
        open, as players expect of a stream; else the end states it.
    sample_rate
        In Hz.
    n_channels
        Of every block.
    bits
        Of a sample: 16 and 24 are integers, 32 floats.
    tags
        Those of ``INFO_CHUNKS`` are written.
    """

    def __init__(
        self, file: BinaryIO, sample_rate: int, n_channels: int, bits: int, tags: Mapping[str, str] | None = None
    ) -> None:
        self._file, self._bits = file, bits
        self._sample_rate, self._n_channels, self._tags = sample_rate, n_channels, dict(tags or {})
        self._n_bytes = 0
        file.write(self._header(None))

    def __enter__(self) -> "WavFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, block: Samples) -> None:
        """Append (channels, samples), interleaved. Raises OSError."""
        data = sample_bytes(block, self._bits)
        self._file.write(data)
        self._n_bytes += len(data)

    def close(self) -> None:
        """State the length, where the file can seek. Raises OSError."""
        if self._file.seekable():
            self._file.write(b"\0" * (self._n_bytes % 2))
            self._file.seek(0)
            self._file.write(self._header(self._n_bytes))
        self._file.flush()

    def _header(self, n_bytes: int | None) -> bytes:
        return wav_header(self._sample_rate, self._n_channels, self._bits, n_bytes, self._tags)


def wav_header(sample_rate: int, n_channels: int, bits: int, n_bytes: int | None, tags: Mapping[str, str]) -> bytes:
    """All that stands before ``n_bytes`` of samples (None: not known); of the same size whatever their number."""
    chunks = _format_chunks(sample_rate, n_channels, bits, n_bytes or 0) + _info_chunk(tags)
    length = 4 + 36 + len(chunks) + 8 + (n_bytes or 0) + (n_bytes or 0) % 2
    if n_bytes is None:
        kind, stated, stated_data, place = b"RIFF", UNKNOWN, UNKNOWN, _chunk(b"JUNK", bytes(28))
    elif length > LONGEST_PLAIN:
        n_frames = n_bytes // (n_channels * bits // 8)
        kind, stated, stated_data = b"RF64", UNKNOWN, UNKNOWN
        place = _chunk(b"ds64", struct.pack("<QQQI", length, n_bytes, n_frames, 0))
    else:
        kind, stated, stated_data, place = b"RIFF", length, n_bytes, _chunk(b"JUNK", bytes(28))
    head = kind + struct.pack("<I", stated) + b"WAVE"
    return head + place + chunks + b"data" + struct.pack("<I", stated_data)


def sample_bytes(block: Samples, bits: int) -> bytes:
    """(channels, samples) of full scale 1 as interleaved little-endian samples."""
    interleaved = np.ascontiguousarray(block.T)
    if bits == FLOAT_BITS:
        return interleaved.astype("<f4", copy=False).tobytes()
    if bits == 16:
        return as_integers(interleaved, 16).astype("<i2").tobytes()
    four_bytes = as_integers(interleaved, 24).astype("<i4").view(np.uint8).reshape(-1, 4)
    return four_bytes[:, :3].tobytes()


def as_integers(samples: Samples, bits: int) -> NDArray[np.int32]:
    """Samples of full scale 1 as integers of so many bits, so that reading divides by a power of two."""
    scale = 2.0 ** (bits - 1)
    integers: NDArray[np.int32] = np.clip(np.rint(samples * scale), -scale, scale - 1).astype(np.int32)
    return integers


def _format_chunks(sample_rate: int, n_channels: int, bits: int, n_bytes: int) -> bytes:
    frame = n_channels * bits // 8
    floats = bits == FLOAT_BITS
    fields = struct.pack("<HHIIHH", 3 if floats else 1, n_channels, sample_rate, sample_rate * frame, frame, bits)
    if not floats:
        return _chunk(b"fmt ", fields)
    return _chunk(b"fmt ", fields + bytes(2)) + _chunk(b"fact", struct.pack("<I", min(n_bytes // frame, UNKNOWN)))


def _info_chunk(tags: Mapping[str, str]) -> bytes:
    texts = [(INFO_CHUNKS[name], text.encode() + b"\0") for name, text in tags.items() if name in INFO_CHUNKS]
    return _chunk(b"LIST", b"INFO" + b"".join(_chunk(name, text) for name, text in texts)) if texts else b""


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
