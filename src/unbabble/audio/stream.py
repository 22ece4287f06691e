"""Recordings that come through a pipe, or as raw samples."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal, get_args

import numpy as np

from unbabble.audio.recording import BLOCK, Recording, Samples, checked, cut_short
from unbabble.audio.source import FileSource, PipeSource
from unbabble.errors import AudioError

SampleFormat = Literal["s16le", "s24le", "s32le", "f32le"]
SAMPLE_FORMATS: tuple[SampleFormat, ...] = get_args(SampleFormat)


@dataclass(frozen=True)
class RawFormat:
    """How to read samples without a header: interleaved, little-endian integers or floats of full scale 1.

    Parameters
    ----------
    sample_rate
        In Hz.
    n_channels
        Samples in a row that belong to one time.
    sample_format
        One of ``SAMPLE_FORMATS``.
    """

    sample_rate: int
    n_channels: int = 1
    sample_format: SampleFormat = "s16le"


@contextmanager
def open_stream(
    file: BinaryIO, raw: RawFormat | None = None, *, name: str = "standard input", max_hours: float | None = None
) -> Iterator[Recording]:
    """Open what comes through a pipe: whatever FFmpeg recognises, or samples of the ``raw`` format.

    Parameters
    ----------
    file
        Open for reading in binary; it need not seek, and is read as it comes.
    raw
        How to read samples without a header; None: the header tells.
    name
        Begins errors.
    max_hours
        How long the recording may be; None: as long as its size makes likely (see ``recording.checked``).

    Raises
    ------
    AudioError
        As of ``open_recording``.
    """
    with ExitStack() as stack:
        if raw is not None:
            recording = Recording(raw.sample_rate, raw.n_channels, None, _raw_blocks(file, raw, name))
            yield checked(recording, name, lambda: math.inf, max_hours)
        else:
            from unbabble.audio.ffmpeg import open_ffmpeg

            try:
                source = FileSource(file, name) if file.seekable() else PipeSource(file)
            except OSError as error:
                raise AudioError(f"{name}: cannot be read: {error.strerror}; check where it comes from") from None
            recording = open_ffmpeg(source, name, stack)
            yield checked(recording, name, lambda: source.n_bytes, max_hours)


def _raw_blocks(file: BinaryIO, raw: RawFormat, name: str) -> Iterator[Samples]:
    """What has arrived, in whole frames; a live source need not fill a block."""
    frame = raw.n_channels * int(raw.sample_format[1:3]) // 8
    read, rest = getattr(file, "read1", file.read), b""
    while data := read(frame * max(1, BLOCK // raw.n_channels)):
        data = rest + data
        whole = len(data) - len(data) % frame
        rest = data[whole:]
        if whole:
            yield _from_raw(data[:whole], raw.sample_format).reshape(-1, raw.n_channels).T
    if rest:
        raise cut_short(name, f"{len(rest)} bytes follow the last whole frame of {frame}")


def _from_raw(data: bytes, sample_format: SampleFormat) -> Samples:
    if sample_format == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32)
    if sample_format == "s24le":
        high = np.frombuffer(data, np.uint8).reshape(-1, 3)
        integers = np.concatenate([np.zeros_like(high[:, :1]), high], axis=1).view("<i4")[:, 0]
        return integers.astype(np.float32) / np.float32(2**31)
    integers = np.frombuffer(data, f"<i{int(sample_format[1:3]) // 8}")
    return integers.astype(np.float32) / np.float32(2.0 ** (8 * integers.itemsize - 1))
