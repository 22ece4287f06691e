"""Open any file for decoding, block by block."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from unbabble.audio.downmix import to_mono
from unbabble.audio.recording import Recording, Samples, checked
from unbabble.audio.resample import resample
from unbabble.audio.sndfile import is_sndfile, open_sndfile
from unbabble.audio.source import BEGIN_BYTES, FileSource, PipeSource
from unbabble.audio.stream import open_stream
from unbabble.errors import AudioError

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".3gp"}
    | {".mkv", ".mka", ".webm", ".avi", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64", ".wma", ".wmv"}
    | {".amr", ".mp2", ".mpg", ".mpeg", ".flv", ".wv", ".ape", ".tta"}
)


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
