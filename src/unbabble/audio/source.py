"""What FFmpeg reads from: files and pipes, and whether all came that they promise."""

import errno
import os
from collections.abc import Mapping
from io import BytesIO
from typing import BinaryIO

from unbabble.audio.chunks import Header, check_alone, check_there, find_sound, following, may_state, read_header
from unbabble.audio.recording import cut_short

BEGIN_BYTES = 40  # by which a kind of file is known, and the number of an Ogg
LONGEST_HEADER = 1 << 20  # bytes before the samples of a pipe that are waited for
OPEN_BYTES = 2**62  # as good as for ever, and small enough for FFmpeg to add to
TAIL_BYTES = 1 << 16  # behind the stated end of a pipe, by which it is known what they are
LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of an Ogg page
END_BYTES = 2 * LONGEST_PAGE  # in which a page begins


class FileSource:
    """A file as long as it was when opened, so that reading one that still grows ends.

    header: what it states of its samples, which is repaired where it is wrong; counts_frames: whether it, if it is
    an mp3, says how long it is. Raises AudioError, which begins with ``name``, where samples are missing.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        self.header = Header(None)
        self.header = read_header(self, self._size, name)
        self.counts_frames = counts_frames(file)
        file.seek(0)

    def read(self, size: int) -> bytes:
        start = self.tell()
        return repaired(self._file.read(max(0, min(size, self._size - start))), start, self.header.repairs)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        if not 0 <= position <= self._size:  # a damaged file sends FFmpeg anywhere; an exception would be printed
            return -errno.EINVAL
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


class PipeSource:
    """A pipe: as much as has arrived, and never back.

    n_bytes: how many came so far; header: what it states of its samples.
    """

    counts_frames = True  # FFmpeg does not guess the length of what has no end

    def __init__(self, file: BinaryIO) -> None:
        self._read = getattr(file, "read1", file.read)
        self._ahead, self._end, self._tail = self._header(), b"", b""
        self._is_ogg = self._ahead.startswith(b"OggS")
        self._sound = sound = find_sound(BytesIO(self._ahead))
        self.header = Header(sound, sound.sized(OPEN_BYTES) if sound and sound.is_open else {})
        self._ahead = repaired(self._ahead, 0, self.header.repairs)
        self.n_bytes = 0

    def read(self, size: int) -> bytes:
        data: bytes = self._ahead[:size] or self._read(size)
        self._ahead = self._ahead[len(data) :]
        self.n_bytes += len(data)
        if self._is_ogg:
            self._end = (self._end + data)[-END_BYTES:]
        if self._sound and len(self._tail) < TAIL_BYTES:
            self._tail += data[max(0, len(data) - max(0, self.n_bytes - self._stated_end)) :]
        return data

    def check_end(self, name: str) -> None:
        """After the last sample: raise AudioError, which begins with ``name``, where the recording promises more, or
        has more than it says."""
        if self._is_ogg and ends_inside_page(self._end):
            raise cut_short(name, "its last page is incomplete")
        if self._sound is None or self._sound.is_open:
            return
        while self.read(1 << 16):  # what follows the samples; a writer whose last bytes nobody reads would fail
            pass
        check_there(self._sound.stated, self.n_bytes - self._sound.start, name)
        end = self._stated_end % 8  # keeps how chunks are aligned
        chunks = following(BytesIO(bytes(end) + self._tail), self._sound, end)
        if chunks is None:
            raise cut_short(name, f"more samples come than the {self._sound.stated} bytes that its header states")
        check_alone(chunks, name)

    @property
    def _stated_end(self) -> int:
        return self._sound.start + self._sound.stated if self._sound else 0

    def _header(self) -> bytes:
        """The first bytes, as far as the samples if they are of a kind that says where these begin."""
        data = b""
        while len(data) < LONGEST_HEADER and (more := self._read(1 << 12)):
            data += more
            if len(data) >= BEGIN_BYTES and (not may_state(data) or find_sound(BytesIO(data))):
                break
        return data


def repaired(data: bytes, start: int, repairs: Mapping[int, bytes]) -> bytes:
    """Bytes that begin at ``start`` of a file, with those changed that are to be."""
    changed = bytearray(data)
    for position, replacement in repairs.items():
        for offset, byte in enumerate(replacement, position - start):
            if 0 <= offset < len(changed):
                changed[offset] = byte
    return bytes(changed)


def counts_frames(file: BinaryIO) -> bool:
    """Whether the first frame of an mp3, behind a tag, says how many there are."""
    file.seek(0)
    head = file.read(10)
    tag_size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
    file.seek(10 + tag_size if head.startswith(b"ID3") else 0)
    first_frame = file.read(400)
    return b"Xing" in first_frame or b"Info" in first_frame


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
