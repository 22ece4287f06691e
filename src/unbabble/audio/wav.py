"""Wav files of any length, written by hand: a plain header up to 4 GiB, RF64 above (EBU Tech 3306).

libsndfile writes either kind, but must know which before the first sample; and it stamps the time into the file,
so that no two runs give the same bytes. PyAV's muxer (``rf64=auto``, bitexact) writes the same headers, beyond 4 GiB
too, but FFmpeg takes longer to load than a short recording to decode, and of a full disk it does not tell the reason.
"""

import struct
from collections.abc import Mapping
from typing import BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unbabble.audio.recording import Samples

WavFormat = Literal["wav16", "wav24", "wav32"]
WAV_FORMATS: tuple[WavFormat, ...] = get_args(WavFormat)
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
    wav_format
        ``wav16`` and ``wav24`` are integers, ``wav32`` floats.
    tags
        Those of ``INFO_CHUNKS`` are written.
    """

    def __init__(
        self,
        file: BinaryIO,
        sample_rate: int,
        n_channels: int,
        wav_format: WavFormat,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._file, self._format = file, wav_format
        self._sample_rate, self._n_channels, self._tags = sample_rate, n_channels, dict(tags or {})
        self._n_bytes = 0
        file.write(self._header(None))

    def __enter__(self) -> "WavFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, block: Samples) -> None:
        """Append (channels, samples), interleaved. Raises OSError."""
        data = sample_bytes(block, self._format)
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
        return wav_header(self._sample_rate, self._n_channels, self._format, n_bytes, self._tags)


def wav_header(
    sample_rate: int, n_channels: int, wav_format: WavFormat, n_bytes: int | None, tags: Mapping[str, str]
) -> bytes:
    """All that stands before ``n_bytes`` of samples (None: not known); of the same size whatever their number."""
    chunks = _format_chunks(sample_rate, n_channels, wav_format, n_bytes or 0) + _info_chunk(tags)
    length = 4 + 36 + len(chunks) + 8 + (n_bytes or 0) + (n_bytes or 0) % 2
    if n_bytes is None:
        kind, stated, stated_data, place = b"RIFF", UNKNOWN, UNKNOWN, _chunk(b"JUNK", bytes(28))
    elif length > LONGEST_PLAIN:
        n_frames = n_bytes // (n_channels * int(wav_format[3:]) // 8)
        kind, stated, stated_data = b"RF64", UNKNOWN, UNKNOWN
        place = _chunk(b"ds64", struct.pack("<QQQI", length, n_bytes, n_frames, 0))
    else:
        kind, stated, stated_data, place = b"RIFF", length, n_bytes, _chunk(b"JUNK", bytes(28))
    head = kind + struct.pack("<I", stated) + b"WAVE"
    return head + place + chunks + b"data" + struct.pack("<I", stated_data)


def sample_bytes(block: Samples, wav_format: WavFormat) -> bytes:
    """(channels, samples) of full scale 1 as interleaved little-endian samples."""
    interleaved = np.ascontiguousarray(block.T)
    if wav_format == "wav32":
        return interleaved.astype("<f4", copy=False).tobytes()
    if wav_format == "wav16":
        return as_integers(interleaved, 16).astype("<i2").tobytes()
    four_bytes = as_integers(interleaved, 24).astype("<i4").view(np.uint8).reshape(-1, 4)
    return four_bytes[:, :3].tobytes()


def as_integers(samples: Samples, bits: int) -> NDArray[np.int32]:
    """Samples of full scale 1 as integers of so many bits, so that reading divides by a power of two."""
    scale = 2.0 ** (bits - 1)
    integers: NDArray[np.int32] = np.clip(np.rint(samples * scale), -scale, scale - 1).astype(np.int32)
    return integers


def _format_chunks(sample_rate: int, n_channels: int, wav_format: WavFormat, n_bytes: int) -> bytes:
    bits = int(wav_format[3:])
    frame = n_channels * bits // 8
    floats = wav_format == "wav32"
    fields = struct.pack("<HHIIHH", 3 if floats else 1, n_channels, sample_rate, sample_rate * frame, frame, bits)
    if not floats:
        return _chunk(b"fmt ", fields)
    return _chunk(b"fmt ", fields + bytes(2)) + _chunk(b"fact", struct.pack("<I", min(n_bytes // frame, UNKNOWN)))


def _info_chunk(tags: Mapping[str, str]) -> bytes:
    texts = [(INFO_CHUNKS[name], text.encode() + b"\0") for name, text in tags.items() if name in INFO_CHUNKS]
    return _chunk(b"LIST", b"INFO" + b"".join(_chunk(name, text) for name, text in texts)) if texts else b""


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
