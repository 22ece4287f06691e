"""Files that libsndfile decodes: wav, RF64, W64, flac, ogg (Vorbis and Opus), aiff, au, caf, NIST sphere."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import soundfile

from unbabble.audio.recording import BLOCK, Recording, Samples, cut_short, known_tags
from unbabble.audio.source import FileSource

SNDFILE_ERRORS = (soundfile.SoundFileError, OSError, ValueError)
BEGINNINGS = re.compile(rb"RIFF....WAVE|RIFX....WAVE|RF64|riff|fLaC|OggS|FORM....AIF|\.snd|caff|NIST", re.DOTALL)
UNKNOWN = 2**62  # frames of a flac that does not say


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
    return Recording(file.samplerate, file.channels, file.frames / file.samplerate, _blocks(file, path), tags)


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


def _blocks(file: soundfile.SoundFile, path: Path) -> Iterator[Samples]:
    n_read = 0
    try:
        while len(block := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
            n_read += len(block)
            yield block.T
    except SNDFILE_ERRORS as error:
        raise cut_short(str(path), f"decoding failed after {n_read} of {file.frames} samples: {error}") from None
    if n_read < file.frames:
        raise cut_short(str(path), f"{n_read} of {file.frames} samples are there")
