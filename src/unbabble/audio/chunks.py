"""Where samples lie in containers of chunks (wav, RF64, W64, aiff, caf, au), and whether their size is stated right.

A recorder that is stopped leaves a size that was never filled in, or one that has grown old; a writer into a pipe
leaves a stand-in. Decoders believe what is stated, and would refuse such a file or lose its end.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from unbabble.audio.recording import cut_short, no_samples
from unbabble.errors import AudioError

# Sizes that mean "not known yet": of sox, libsndfile, arecord and ffmpeg; with 64 bits, all that no file has.
STAND_INS = (
    *(range(0x7EFFFE00, 0x7F000100), range(0x7FFFF000, 0x80001000), range(0xFFFFF000, 0x100000000)),
    range(2**62, 2**64),
)
SPARED = 1  # bytes that may be missing: some writers omit the last, or count one that pads
TAGS = re.compile(rb"TAG|ID3|APETAGEX|LYRICSBEGIN")
CHUNK_NAME = re.compile(rb"[\w .-]{4}", re.ASCII)
MPEG_TAGS = (0x50, 0x55)  # of which libsndfile's decoder writes to stderr
RECORDINGS = (b"RIFF", b"FORM")


class Bytes(Protocol):
    """What headers are read from."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


@dataclass(frozen=True)
class Layout:
    """How a container writes its chunks: name, size, content."""

    begins: re.Pattern[bytes]
    header: int  # bytes before the first chunk
    sound: bytes  # how the name of the chunk with the samples begins
    size: str = "<I"
    name_bytes: int = 4
    counted: int = 0  # bytes of name and size that a size includes
    prefix: int = 0  # bytes of the content before the samples
    align: int = 2


LAYOUTS = (
    Layout(re.compile(rb"(RIFF|RF64|BW64)....WAVE", re.DOTALL), 12, b"data"),
    Layout(re.compile(rb"RIFX....WAVE", re.DOTALL), 12, b"data", ">I"),
    Layout(re.compile(rb"FORM....AIF", re.DOTALL), 12, b"SSND", ">I", prefix=8),
    Layout(re.compile(rb"caff"), 8, b"data", ">Q", prefix=4, align=1),
    Layout(re.compile(rb"riff.{20}wave", re.DOTALL), 40, b"data", "<Q", name_bytes=16, counted=24, align=8),
)
AVI = Layout(re.compile(rb"RIFF....AVI ", re.DOTALL), 0, b"RIFF")  # one or, beyond 1 GB, several of them
AU = Layout(re.compile(rb"\.snd"), 24, b"", ">I", align=1)  # samples behind a header, nothing else


class Chunk(NamedTuple):
    """Name, and where the content is and how many bytes it has as stated."""

    name: bytes
    start: int
    size: int


@dataclass(frozen=True)
class Sound:
    """The samples of a container: where they start, and how many bytes of them its header states, and where."""

    layout: Layout
    start: int
    stated: int
    stated_at: int
    stated_as: str  # for struct
    format_tag: int = 0  # of a wav: its codec

    @property
    def is_stand_in(self) -> bool:
        """Whether the stated size is one that writers state before they know."""
        return any(self.stated + self.layout.counted in stand_ins for stand_ins in STAND_INS)

    @property
    def is_open(self) -> bool:
        """Whether no size is stated, in one way or another."""
        return self.stated <= self.layout.prefix or self.is_stand_in

    def sized(self, n_bytes: int) -> dict[int, bytes]:
        """The header's bytes that change, by position, where so many are to be stated, or as many as can be."""
        most = 2 ** (8 * struct.calcsize(self.stated_as)) - 1
        return {self.stated_at: struct.pack(self.stated_as, min(n_bytes + self.layout.counted, most))}


@dataclass(frozen=True)
class Header:
    """What a header states of the samples, checked against the file.

    repairs: bytes to be read in place of others, by position; several: samples are in more than one chunk.
    """

    sound: "Sound | None"
    repairs: dict[int, bytes] = field(default_factory=dict)
    several: bool = False

    @property
    def plain(self) -> bool:
        """Whether libsndfile reads all, and without a word on stderr."""
        return (
            not self.repairs and not self.several and (self.sound is None or self.sound.format_tag not in MPEG_TAGS)
        )


def read_header(file: Bytes, n_bytes: int, name: str) -> Header:
    """Check the header of a file of ``n_bytes``. Raises AudioError, which begins with ``name``, where samples are
    missing, or where another recording follows."""
    sound = find_sound(file)
    if sound is None:
        return Header(None)
    there = n_bytes - sound.start
    if sound.is_stand_in:
        return Header(sound, sound.sized(there))
    check_there(sound.stated, there, name)
    chunks = following(file, sound, sound.start + sound.stated)
    if chunks is None or sound.stated > there:
        return Header(sound, sound.sized(there))
    if sound.is_open and chunks and chunks[0].start + chunks[0].size <= n_bytes + SPARED:  # chance would not fit
        raise no_samples(name)
    check_alone(chunks, sound.layout, name)
    more = [chunk for chunk in chunks if chunk.name.startswith(sound.layout.sound)]
    for chunk in more:
        check_there(chunk.size, n_bytes - chunk.start, name)
    return Header(sound, several=bool(more) and sound.layout is not AVI)


def check_there(stated: int, there: int, name: str) -> None:
    """Raise AudioError, which begins with ``name``, where fewer bytes are there than stated."""
    if there < stated - SPARED:
        raise cut_short(name, f"{there} of {stated} bytes are there")


def check_alone(chunks: Sequence[Chunk], layout: Layout, name: str) -> None:
    """Raise AudioError, which begins with ``name``, where one recording hangs behind another."""
    if layout is not AVI and any(chunk.name.startswith(RECORDINGS) for chunk in chunks):
        raise AudioError(f"{name}: another recording follows in the same file; expected one; cut the file in two")


def find_sound(file: Bytes) -> Sound | None:
    """The samples of an open file; None where it is no such container, or has none as far as it goes."""
    file.seek(0)
    head = file.read(40)
    if AU.begins.match(head) and len(head) >= AU.header:
        start, stated = struct.unpack(">II", head[4:12])
        return Sound(AU, start, stated, 8, AU.size)
    layout = next((layout for layout in (*LAYOUTS, AVI) if layout.begins.match(head)), None)
    if layout is None:
        return None
    format_tag, long = 0, None
    for chunk in _chunks(file, layout, layout.header):
        if chunk.name.startswith(layout.sound):
            stated, at, written = long or (chunk.size, chunk.start - struct.calcsize(layout.size), layout.size)
            return Sound(layout, chunk.start, stated, at, written, format_tag)
        if chunk.name == b"ds64":  # of RF64, in place of the sizes of 32 bits
            long = struct.unpack("<8xQ", file.read(16).ljust(16))[0], chunk.start + 8, "<Q"
        elif chunk.name == b"fmt ":
            format_tag = int.from_bytes(file.read(2), "little" if layout.size == "<I" else "big")
    return None


def may_state(head: bytes) -> bool:
    """Whether a file that begins so (with 40 bytes at least) is of a kind that states the size of its samples."""
    return any(layout.begins.match(head) for layout in (*LAYOUTS, AVI, AU))


def following(file: Bytes, sound: Sound, end: int) -> list[Chunk] | None:
    """The chunks behind the stated end of the samples, which lies at ``end`` of the file; None for more samples."""
    for start in (end + -end % sound.layout.align, end):
        name = file.read(4) if file.seek(start) == start else b""
        if len(name) < 4 or TAGS.match(name):
            return []
        if sound.layout is not AU and CHUNK_NAME.match(name):
            return list(_chunks(file, sound.layout, start))
    file.seek(end)
    return None if any(any(block) for block in iter(lambda: file.read(1 << 16), b"")) else []


def _chunks(file: Bytes, layout: Layout, at: int) -> Iterator[Chunk]:
    """The chunks from a position on, as stated."""
    size_bytes = struct.calcsize(layout.size)
    while file.seek(at) == at and len(head := file.read(layout.name_bytes + size_bytes)) > layout.name_bytes:
        name, size = head[: layout.name_bytes], head[layout.name_bytes :].ljust(size_bytes, b"\0")
        chunk = Chunk(name, at + len(head), max(0, struct.unpack(layout.size, size)[0] - layout.counted))
        yield chunk
        at = chunk.start + chunk.size
        at = min(at + -at % layout.align, 2**62)
