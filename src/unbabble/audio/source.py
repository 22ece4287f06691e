"""What FFmpeg reads from: files and pipes, and whether all came that they promise."""

import errno
import os
import re
import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import BinaryIO

from unbabble.audio.chunks import Header, check_alone, check_there, find_sound, following, may_state, read_header
from unbabble.audio.recording import cut_short

BEGIN_BYTES = 40  # by which a kind of file is known, and the number of an Ogg
LONGEST_HEADER = 1 << 20  # bytes before the samples of a pipe that are waited for
OPEN_BYTES = 2**62  # as good as for ever, and small enough for FFmpeg to add to
TAIL_BYTES = 1 << 16  # behind the stated end of a pipe, by which it is known what they are
FIRST_FRAME_BYTES = 400
# The header's second byte, the flags (of which 1 says that frames are counted), and the number of frames.
MPEG_COUNT = re.compile(
    rb"\xff([\xe2-\xff]).{11,36}?(?:Xing|Info)\0\0\0([\1\3\5\7\x09\x0b\x0d\x0f])(.{4})", re.DOTALL
)
PAGE = b"OggS\0"  # begins each page of an Ogg, which have numbers and checksums (RFC 3533)
HEAD = struct.Struct("<5sBq4sI4sB")  # PAGE, flags, position, stream, number, checksum, how many lengths follow
FIRST = 2  # in the flags: of a stream
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class FileSource:
    """A file as long as it was when opened, so that reading one that still grows ends.

    n_bytes: its size; header: what it states of its samples, which is repaired where it is wrong; mp3_samples: how
    many samples it counts, if it is an mp3 that does; n_streams: how many recordings an Ogg holds. Raises AudioError,
    which begins with ``name``, where samples are missing.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.n_bytes = file, file.seek(0, os.SEEK_END)
        self.header = Header(None)
        self.header = read_header(self, self.n_bytes, name)
        file.seek(0)
        file.seek(tag_bytes(file.read(10)))
        self.mp3_samples = mp3_samples(file.read(FIRST_FRAME_BYTES))
        file.seek(0)
        self.n_streams = self._checked_pages(name) if file.read(4) == b"OggS" else 1
        file.seek(0)

    def read(self, size: int) -> bytes:
        start = self.tell()
        return repaired(self._file.read(max(0, min(size, self.n_bytes - start))), start, self.header.repairs)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.n_bytes}[whence]
        if not 0 <= position <= self.n_bytes:  # a damaged file sends FFmpeg anywhere; an exception would be printed
            return -errno.EINVAL
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def _checked_pages(self, name: str) -> int:
        """How many streams there are. Raises AudioError where pages are missing or damaged."""
        pages = OggPages()
        self.seek(0)
        while data := self.read(1 << 20):
            pages.push(data)
        pages.finish()
        if pages.problem:
            raise cut_short(name, pages.problem)
        return pages.n_streams


class PipeSource:
    """A pipe: as much as has arrived, and never back.

    n_bytes: how many came so far; header and mp3_samples: as of a file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._read = getattr(file, "read1", file.read)
        self._ahead, self._tail = self._begin(), b""
        self._pages = OggPages() if self._ahead.startswith(b"OggS") else None
        self.mp3_samples = mp3_samples(self._ahead[tag_bytes(self._ahead) :])
        self._sound = sound = find_sound(BytesIO(self._ahead))
        self.header = Header(sound, sound.sized(OPEN_BYTES) if sound and sound.is_open else {})
        self._ahead = repaired(self._ahead, 0, self.header.repairs)
        self.n_bytes = 0

    def read(self, size: int) -> bytes:
        data: bytes = self._ahead[:size] or self._read(size)
        self._ahead = self._ahead[len(data) :]
        self.n_bytes += len(data)
        if self._pages:
            self._pages.push(data)
        if self._sound and len(self._tail) < TAIL_BYTES:
            self._tail += data[max(0, len(data) - max(0, self.n_bytes - self._stated_end)) :]
        return data

    def check_end(self, name: str) -> None:
        """After the last sample: raise AudioError, which begins with ``name``, where the recording promises more, or
        has more than it says."""
        if self._pages:
            self._pages.finish()
            if self._pages.problem:
                raise cut_short(name, self._pages.problem)
        if self._sound is None or self._sound.is_open:
            return
        while self.read(1 << 16):  # what follows the samples; a writer whose last bytes nobody reads would fail
            pass
        check_there(self._sound.stated, self.n_bytes - self._sound.start, name)
        end = self._stated_end % 8  # keeps how chunks are aligned
        chunks = following(BytesIO(bytes(end) + self._tail), self._sound, end)
        if chunks is None:
            raise cut_short(name, f"more samples come than the {self._sound.stated} bytes that its header states")
        check_alone(chunks, self._sound.layout, name)

    @property
    def _stated_end(self) -> int:
        return self._sound.start + self._sound.stated if self._sound else 0

    def _begin(self) -> bytes:
        """The first bytes: as many as it takes to know what is stated of the samples."""
        data = b""
        while len(data) < LONGEST_HEADER and (more := self._read(1 << 12)):
            data += more
            stated = not may_state(data) or find_sound(BytesIO(data))
            if stated and len(data) >= max(
                BEGIN_BYTES, tag_bytes(data) + FIRST_FRAME_BYTES * data.startswith(b"ID3")
            ):
                break
        return data


def repaired(data: bytes, start: int, repairs: Mapping[int, bytes]) -> bytes:
    """Bytes that begin at ``start`` of a file, with those changed that are to be."""
    if not repairs:
        return data
    changed = bytearray(data)
    for position, replacement in repairs.items():
        for offset, byte in enumerate(replacement, position - start):
            if 0 <= offset < len(changed):
                changed[offset] = byte
    return bytes(changed)


def tag_bytes(head: bytes) -> int:
    """How long the tag is with which an mp3 begins (ID3v2)."""
    size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    return 10 + size if head.startswith(b"ID3") else 0


def mp3_samples(head: bytes) -> int | None:
    """How many samples an mp3 says that it holds, in its first frame; None where it does not.

    head: what follows the tag.
    """
    if (found := MPEG_COUNT.search(head[:FIRST_FRAME_BYTES])) is None:
        return None
    version, flags, n_frames = found[1][0], found[2][0], int.from_bytes(found[3], "big")
    rest = head[found.end() :]
    # Behind a table, the encoder may say by how much it filled up the ends: 12 bits for each.
    padding = int.from_bytes(rest[129:132], "big") if flags & 15 == 15 and rest[108:109].isalpha() else 0
    return n_frames * (1152 if version & 8 else 576) - (padding >> 12) - (padding & 0xFFF)


class OggPages:
    """Looks through an Ogg that comes in pieces, in order.

    problem: what is wrong with it, in a few words; n_streams: how many recordings it holds, side by side or chained.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._rest = b""
        self._behind = b""  # the first bytes that belong to no page
        self._last: dict[bytes, tuple[int, bool]] = {}  # number of a stream's last page, and whether it had samples
        self.n_streams = 0

    def push(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= len(PAGE):
            start = self._rest.find(PAGE)
            if start:
                self._skip(len(self._rest) - len(PAGE) + 1 if start < 0 else start)
            elif 0 < (length := _page_length(self._rest)) <= len(self._rest):
                self._check(self._rest[:length])
                self._rest = self._rest[length:]
            else:
                return

    def finish(self) -> None:
        """After the last byte."""
        if self._rest.startswith(PAGE):
            self._complain("its last page is incomplete")
        elif self._behind.strip(b"\0") and not self._behind.startswith(b"TAG"):
            self._complain("it does not end with a page")

    def _skip(self, n_bytes: int) -> None:
        self._behind = (self._behind + self._rest[:n_bytes])[: 1 << 16]
        self._rest = self._rest[n_bytes:]

    def _check(self, page: bytes) -> None:
        _, flags, position, stream, number, checksum, _ = HEAD.unpack(page[: HEAD.size])
        last, sounded = self._last.get(stream, (number - 1, False))
        if self._behind or checksum != _checksum(page):
            self._complain(f"page {number} is damaged")
        # Some dumps of live streams go on with the number of the day behind the headers.
        elif number != last + 1 and sounded and not flags & FIRST:
            self._complain(f"page {number} follows page {last}")
        self._behind = b""
        self.n_streams += flags & FIRST == FIRST
        self._last[stream] = number, position > 0

    def _complain(self, problem: str) -> None:
        self.problem = self.problem or problem


def _page_length(data: bytes) -> int:
    """Bytes of the page that begins here; 0 where too little of it is there to know."""
    if len(data) < HEAD.size or len(data) < HEAD.size + data[HEAD.size - 1]:
        return 0
    lengths = data[HEAD.size : HEAD.size + data[HEAD.size - 1]]
    return HEAD.size + len(lengths) + sum(lengths)


def _checksum(page: bytes) -> bytes:
    """Ogg's CRC-32: zlib's, with the bits of each byte the other way round, from 0 and not inverted."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED)
    crc = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")
