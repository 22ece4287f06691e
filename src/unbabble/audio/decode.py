"""Open any file or pipe for decoding, block by block.

libsndfile decodes files of wav, RF64, W64, flac, ogg (Vorbis and Opus), aiff, au, caf and NIST sphere; FFmpeg all
others, and what comes through pipes.
"""

import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from unbabble.audio.filters import resample, to_mono
from unbabble.audio.recording import BLOCK, Recording, Samples, checked, cut_short, known_tags
from unbabble.audio.source import BEGIN_BYTES, FileSource, PipeSource
from unbabble.errors import ArgumentError, AudioError

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".3gp"}
    | {".mkv", ".mka", ".webm", ".avi", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64", ".wma", ".wmv"}
    | {".amr", ".mp2", ".mpg", ".mpeg", ".flv", ".wv", ".ape", ".tta"}
)
SNDFILE_ERRORS = (soundfile.SoundFileError, OSError, ValueError)
BEGINNINGS = re.compile(rb"RIFF....WAVE|RIFX....WAVE|RF64|riff|fLaC|OggS|FORM....AIF|\.snd|caff|NIST", re.DOTALL)
UNKNOWN = 2**62  # frames of a flac that does not say
SAMPLE_FORMATS = ("s16le", "s24le", "s32le", "f32le")


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
        One of ``SAMPLE_FORMATS``; ValueError for any other.
    """

    sample_rate: int
    n_channels: int = 1
    sample_format: str = "s16le"

    def __post_init__(self) -> None:
        if self.sample_format not in SAMPLE_FORMATS:
            raise ArgumentError(f"raw {self.sample_format!r} is not one of {', '.join(SAMPLE_FORMATS)}")


@contextmanager
def open_recording(path: Path, max_hours: float | None = None) -> Iterator[Recording]:
    """Open a file for decoding: libsndfile for the kinds that it knows well, FFmpeg for all others.

    What is appended to the file meanwhile is not read. A named pipe is read as ``open_stream`` does.

    Parameters
    ----------
    path
        The file.
    max_hours
        How long the recording may be; None: as long as its size makes likely (see ``recording.checked``).

    Raises
    ------
    AudioError
        On opening or while the blocks are read, where the file is missing, no audio, empty, damaged, cut short,
        longer than it may be, of a sample rate outside 8 to 192 kHz, or holds samples that are no numbers.
    """
    with ExitStack() as stack:
        with _readable(path):
            recording = _open(path, max_hours, stack)
        yield recording


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


def read_mono(path: Path, sample_rate: int) -> Samples:
    """Decode a whole file as one channel.

    Parameters
    ----------
    path
        The file.
    sample_rate
        Of the result, in Hz.

    Returns
    -------
    Samples
        (samples,), all channels averaged as by ``Downmix``.

    Raises
    ------
    AudioError
        As of ``open_recording``.
    """
    with open_recording(path) as recording:
        blocks = resample(to_mono(recording.blocks), recording.sample_rate, sample_rate)
        whole = np.concatenate([*blocks, np.zeros((1, 0), np.float32)], axis=1)
    return np.asarray(whole[0], np.float32)


def declares_length(path: Path) -> bool:
    """Whether the header of a file tells its length.

    Raw AAC and an mp3 without a count of frames do not; what ``Recording.duration_s`` says of them is an estimate.
    Raises AudioError where the header promises more than the file holds.
    """
    suffix = path.suffix.lower()
    if suffix != ".mp3":
        return suffix != ".aac"
    with path.open("rb") as file:
        return FileSource(file, str(path)).mp3_samples is not None


def check_end(path: Path) -> None:
    """Check the last sample of a file that libsndfile reads, without decoding the others.

    Raises
    ------
    AudioError
        Where it is missing, or where the header states more than there is.
    """
    with path.open("rb") as opened:
        if not FileSource(opened, str(path)).header.plain:  # whose bytes are counted
            return
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            file.seek(max(0, file.frames - 1))
            if file.frames and len(file.read(1)) == 0:
                raise cut_short(str(path), f"its last of {file.frames} samples is missing")
    except SNDFILE_ERRORS as error:
        raise cut_short(str(path), str(error)) from None


def _open(path: Path, max_hours: float | None, stack: ExitStack) -> Recording:
    file = stack.enter_context(path.open("rb"))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return stack.enter_context(open_stream(file, name=str(path), max_hours=max_hours))
    head = file.read(BEGIN_BYTES)
    if not head:
        raise AudioError(f"{path}: the file is empty; expected audio; copy or download it again")
    source = FileSource(file, str(path))
    simple = is_sndfile(head) and source.header.plain and source.n_streams == 1  # libsndfile reads the first only
    found = open_sndfile(path, stack) if simple else ""
    if isinstance(found, str):
        from unbabble.audio.ffmpeg import open_ffmpeg  # FFmpeg takes a tenth of a second to load

        # Chunks of samples behind the first are read only where FFmpeg cannot seek.
        found = open_ffmpeg(PipeSource(file) if source.header.several else source, str(path), stack, found)
    return checked(found, str(path), lambda: source.n_bytes, max_hours)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while ``path`` is opened into an AudioError."""
    try:
        yield
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise AudioError(f"{path}: a folder; expected an audio file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path}: cannot be read: {reason}; check the name and the permissions") from None


def is_sndfile(head: bytes) -> bool:
    """Whether libsndfile is to try a file that begins so; its other formats are obsolete, its mp3 prints warnings."""
    return BEGINNINGS.match(head) is not None


def open_sndfile(path: Path, stack: ExitStack) -> Recording | str:
    """A recording, or in a few words why libsndfile cannot read it. Raises AudioError where it is cut short."""
    try:
        file = stack.enter_context(soundfile.SoundFile(os.fsencode(path)))  # names may be any bytes
    except SNDFILE_ERRORS as error:
        return str(getattr(error, "error_string", error))
    if not file.seekable():  # which soundfile needs to count what it reads, and GSM in a wav is not
        return "an encoding that libsndfile does not count"
    if not 0 < file.frames < UNKNOWN:  # as where a recorder stopped before it could state the length, or in a pipe
        return "no length stated"
    tags = known_tags(file.copy_metadata())
    return Recording(file.samplerate, file.channels, file.frames / file.samplerate, _sndfile_blocks(file, path), tags)


def _sndfile_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[Samples]:
    n_read = 0
    try:
        while len(block := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
            n_read += len(block)
            yield block.T
    except SNDFILE_ERRORS as error:
        raise cut_short(str(path), f"decoding failed after {n_read} of {file.frames} samples: {error}") from None
    if n_read < file.frames:
        raise cut_short(str(path), f"{n_read} of {file.frames} samples are there")


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


def _from_raw(data: bytes, sample_format: str) -> Samples:
    if sample_format == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32)
    if sample_format == "s24le":
        high = np.frombuffer(data, np.uint8).reshape(-1, 3)
        integers = np.concatenate([np.zeros_like(high[:, :1]), high], axis=1).view("<i4")[:, 0]
        return integers.astype(np.float32) / np.float32(2**31)
    integers = np.frombuffer(data, f"<i{int(sample_format[1:3]) // 8}")
    return integers.astype(np.float32) / np.float32(2.0 ** (8 * integers.itemsize - 1))
