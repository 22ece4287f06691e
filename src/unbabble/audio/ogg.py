"""Whether an Ogg is whole: pages have numbers and checksums (RFC 3533), and decoders pass over what is lost."""

import struct
import zlib

PAGE = b"OggS\0"
HEAD = struct.Struct("<5sBq4sI4sB")  # PAGE, flags, position, stream, number, checksum, how many lengths follow
FIRST = 2  # in the flags: of a stream
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


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
