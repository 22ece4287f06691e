"""Decode any file block by block."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import av
import numpy as np
import soundfile

from unbabble.audio.recording import BLOCK, RATES_HZ, SHORTEST_S, Recording, Samples, check_numbers, to_mono
from unbabble.audio.resample import resample
from unbabble.errors import AudioError

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".mp4", ".mov", ".mkv", ".webm"}
    | {".aif", ".aiff", ".au", ".caf", ".wma"}
)
STREAMED_WAV = 0x7FFFF000  # bytes: writers that cannot go back to the header declare at least this much
DECODE_ERRORS = (av.FFmpegError, soundfile.SoundFileError, OSError, ValueError, EOFError)


@contextmanager
def open_recording(path: Path) -> Iterator[Recording]:
    """Open a file for decoding: soundfile first, PyAV for what that cannot read, and for mp3.

    Raises AudioError, on opening or while the blocks are read, where the file is missing, no audio, empty,
    cut short, of a sample rate outside 8 to 192 kHz, or holds samples that are no numbers.
    """
    _check_readable(path)
    with ExitStack() as stack:
        recording = None
        if path.suffix.lower() != ".mp3":  # its decoder there prints warnings of its own
            recording = _open_soundfile(path, stack)
        recording = recording or _open_av(path, stack)
        if not RATES_HZ[0] <= recording.sample_rate <= RATES_HZ[1]:
            raise AudioError(
                f"{path}: sample rate {recording.sample_rate} Hz; expected 8 to 192 kHz; resample it first"
            )
        yield recording


def read_mono(path: Path, sample_rate: int) -> Samples:
    """A whole file as one channel (the average of all) at ``sample_rate`` Hz: (samples,). Raises AudioError."""
    with open_recording(path) as recording:
        blocks = resample(to_mono(recording.blocks), recording.sample_rate, sample_rate)
        whole = np.concatenate([*blocks, np.zeros((1, 0), np.float32)], axis=1)
    return np.asarray(whole[0], np.float32)


def check_end(path: Path) -> None:
    """Raise AudioError where a file that soundfile reads is cut short, by looking at its end alone."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            _check_declared(file, path)
            file.seek(max(0, file.frames - 1))
            if file.frames and len(file.read(1)) == 0:
                raise _cut_short(path, f"its last of {file.frames} samples is missing")
    except DECODE_ERRORS as error:
        raise _cut_short(path, str(error)) from None


def declares_length(path: Path) -> bool:
    """Whether a file states its length; raw AAC and an mp3 that does not count its frames only let one guess."""
    suffix = path.suffix.lower()
    if suffix != ".mp3":
        return suffix != ".aac"
    with path.open("rb") as file:
        head = file.read(10)
        tag_size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
        file.seek(10 + tag_size if head.startswith(b"ID3") else 0)
        first_frame = file.read(400)
    return b"Xing" in first_frame or b"Info" in first_frame


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise AudioError(f"{path}: a folder; expected an audio file") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}; check the name and the permissions") from None
    if empty:
        raise AudioError(f"{path}: the file is empty; expected audio; copy or download it again")


def _open_soundfile(path: Path, stack: ExitStack) -> Recording | None:
    try:
        file = stack.enter_context(soundfile.SoundFile(os.fsencode(path)))  # names may be any bytes
    except DECODE_ERRORS:
        return None
    blocks = _checked(_soundfile_blocks(file, path), path)
    return Recording(file.samplerate, file.channels, file.frames / file.samplerate, blocks)


def _soundfile_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[Samples]:
    _check_declared(file, path)
    n_read = 0
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
        n_read += len(block)
        yield block.T
    if n_read < file.frames:
        raise _cut_short(path, f"{n_read} of {file.frames} samples are there")


def _check_declared(file: soundfile.SoundFile, path: Path) -> None:
    """Raise AudioError where a wav has less than its header promises."""
    declared = re.search(r"data\s*: (\d+) \(should be (\d+)\)", file.extra_info)
    if declared and int(declared[2]) < int(declared[1]) < STREAMED_WAV:
        raise _cut_short(path, f"{declared[2]} of {declared[1]} bytes of samples are there")


def _open_av(path: Path, stack: ExitStack) -> Recording:
    try:
        file = stack.enter_context(path.open("rb"))  # not the name, which FFmpeg might take for a protocol
        container = stack.enter_context(av.open(file, mode="r"))
    except DECODE_ERRORS:
        raise AudioError(
            f"{path}: not audio that can be decoded, or cut short; expected wav, flac, mp3, ogg, m4a, mp4 or the like"
        ) from None
    if not container.streams.audio:
        raise AudioError(f"{path}: holds no audio stream; expected a file with sound")
    stream = container.streams.audio[0]
    if not stream.rate or not stream.channels:
        raise AudioError(f"{path}: its header gives no sample rate or channels; convert it to wav first")
    duration_s = _stream_duration_s(stream)
    blocks = _checked(_av_blocks(container, stream, path), path)
    return Recording(stream.rate, stream.channels, duration_s, blocks)


def _av_blocks(container: av.container.InputContainer, stream: av.AudioStream, path: Path) -> Iterator[Samples]:
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    n_read = 0
    for frame in container.decode(stream):
        for planar in resampler.resample(frame):
            block = planar.to_ndarray().astype(np.float32, copy=False)
            n_read += block.shape[1]
            yield block
    declared = _declared_samples(stream, path)
    if n_read < declared - stream.rate // 10:
        raise _cut_short(path, f"{n_read} of {declared} samples are there")


def _declared_samples(stream: av.AudioStream, path: Path) -> int:
    """Samples that the file's header promises; 0 where it does not say."""
    duration_s = _stream_duration_s(stream)
    if duration_s is None or not declares_length(path):
        return 0
    return int(duration_s * stream.rate)


def _stream_duration_s(stream: av.AudioStream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def _checked(blocks: Iterator[Samples], path: Path) -> Iterator[Samples]:
    """Pass blocks on; decoding errors, an empty recording and samples that are no numbers as AudioError."""
    n_seen = 0
    try:
        for block in blocks:
            check_numbers(block, f"{path}: ")
            n_seen += block.shape[1]
            yield block
    except DECODE_ERRORS as error:
        raise _cut_short(path, f"decoding failed after {n_seen} samples: {error}") from None
    if n_seen == 0:
        raise AudioError(
            f"{path}: holds no samples; expected at least {SHORTEST_S * 1000:.0f} ms of audio; record it again"
        )


def _cut_short(path: Path, found: str) -> AudioError:
    return AudioError(
        f"{path}: damaged or cut short ({found}); copy or download it again, or convert what is left to wav"
    )
