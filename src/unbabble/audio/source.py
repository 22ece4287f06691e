"""What FFmpeg reads from: files and pipes, and whether all came that they promise."""

import errno
import os
import struct
from typing import BinaryIO

BEGIN_BYTES = 18  # by which a kind of file is known, and the number of an Ogg
STREAMED_BYTES = 0x7FFFF000  # writers that cannot go back to the header declare at least as much, or nothing
LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of an Ogg page
END_BYTES = 2 * LONGEST_PAGE  # in which a page begins


class FileSource:
    """A file as long as it was when opened, so that reading one that still grows ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        return self._file.read(max(0, min(size, self._size - self.tell())))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        if not 0 <= position <= self._size:  # a damaged file sends FFmpeg anywhere; an exception would be printed
            return -errno.EINVAL
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


class PipeSource:
    """A pipe: as much as has arrived, and never back. n_bytes: how many came so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._read = getattr(file, "read1", file.read)
        self._begin = self._end = b""
        self.n_bytes = 0

    def read(self, size: int) -> bytes:
        data: bytes = self._read(size)
        self._begin = (self._begin + data[:BEGIN_BYTES])[:BEGIN_BYTES]
        if self._begin.startswith(b"OggS"):
            self._end = (self._end + data)[-END_BYTES:]
        self.n_bytes += len(data)
        return data

    def missing(self) -> str | None:
        """After the last sample: what the recording promises and did not come, if that can be known."""
        if self._begin.startswith(b"OggS"):
            return "its last page is incomplete" if ends_inside_page(self._end) else None
        if not self._begin.startswith((b"RIFF", b"FORM")) or len(self._begin) < 8:
            return None
        order = "<" if self._begin.startswith(b"RIFF") else ">"
        declared = 8 + int(struct.unpack(f"{order}I", self._begin[4:8])[0])
        if declared > STREAMED_BYTES:
            return None
        while self.n_bytes < declared - 1 and self.read(1 << 16):  # what follows the samples; some omit the last byte
            pass
        return f"{self.n_bytes} of {declared} bytes came" if self.n_bytes < declared - 1 else None


def ends_inside_page(end: bytes) -> bool:
    """Whether an Ogg of which these are the last bytes (END_BYTES at least, or all) was cut.

    Ogg declares no length, but each page does: a recording that was stopped ends with a page, a cut one within.
    """
    page = _last_page(end)
    lengths = page[27 : 27 + page[26]] if len(page) >= 27 else b""
    return len(page) < 27 or len(lengths) < page[26] or len(page) < 27 + len(lengths) + sum(lengths)


def is_chain(begin: bytes, end: bytes) -> bool:
    """Whether an Ogg holds several recordings, one behind the other: its first page and its last have two numbers."""
    return begin[14:18] != _last_page(end)[14:18]


def _last_page(end: bytes) -> bytes:
    start = end.rfind(b"OggS\0")
    return end[start:] if start >= 0 else b""
