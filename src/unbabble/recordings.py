"""Recordings on disk: find them, separate each, write its tracks."""

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unbabble import __version__
from unbabble.audio import (
    AUDIO_SUFFIXES,
    Recording,
    TrackWriter,
    open_recording,
    to_mono,
    wav_to_flac,
)
from unbabble.errors import AudioError, ModelError, OutputError, UnbabbleError
from unbabble.output import UNFINISHED, whole_folder, writing
from unbabble.progress import Progress, unwatched
from unbabble.separator import Separator

Samples = NDArray[np.float32]
Format = Literal["wav", "flac"]
FORMATS: tuple[Format, ...] = get_args(Format)
SIDECAR = "separation.json"


@dataclass(frozen=True)
class Job:
    """A recording to separate and the folder its tracks go to; or what is wrong with the input."""

    source: Path
    folder: Path
    error: UnbabbleError | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the sidecar's content, or the error.

    notices: what a user should know of the recording.
    """

    job: Job
    summary: dict[str, Any] | None = None
    error: UnbabbleError | None = None
    notices: tuple[str, ...] = ()


def separate(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    separator: Separator | None = None,
    audio_format: Format = "wav",
    n_sources: int | None = None,
) -> list[Outcome]:
    """Separate files and folders; every input is tried, whatever became of the others.

    inputs: audio files, and folders that are walked; out: the folder for the results, made where missing;
    separator: by default one with the bundled model; audio_format: ``wav`` (32-bit float) or ``flac`` (24 bits);
    n_sources: number of tracks, by default the model's. Writes, for each recording,
    ``<out>/<relative path without suffix>/speaker1.wav ...`` and ``separation.json``, whole or not at all.
    Raises ModelError where the model cannot be used; what is wrong with one recording is in its outcome.
    """
    separator = separator or Separator()
    return [run_job(job, separator, audio_format, n_sources) for job in find_jobs(map(Path, inputs), Path(out))]


def find_jobs(inputs: Iterable[Path], out: Path) -> list[Job]:
    """The recordings named, and those in the folders named, each with a folder of its own for the results."""
    taken: set[Path] = set()
    jobs = []
    for given in inputs:
        found, error = _recordings_of(given)
        if error is not None:
            jobs.append(Job(given, out, error))
        for path, relative in found:
            folder = _free(out / _readable(relative.with_suffix("")), taken)
            taken.add(folder)
            jobs.append(Job(path, folder))
    return jobs


def run_job(
    job: Job,
    separator: Separator,
    audio_format: Format = "wav",
    n_sources: int | None = None,
    progress: Progress = unwatched,
) -> Outcome:
    """Separate one recording and write its tracks and sidecar, whole or not at all."""
    if job.error is not None:
        return Outcome(job, error=job.error)
    stale = _earlier_tracks(job.folder)
    try:
        with whole_folder(job.folder) as folder:
            summary, notices = _separate_into(folder, job.source, separator, audio_format, n_sources, progress)
        for name in stale - {track["file"] for track in summary["tracks"]}:
            (job.folder / name).unlink(missing_ok=True)
    except UnbabbleError as error:
        named = isinstance(error, OutputError | ModelError) or str(error).startswith(str(job.source))
        return Outcome(job, error=error if named else type(error)(f"{job.source}: {error}"))
    except Exception as error:  # a defect of ours: it must not cost the user the other recordings
        defect = UnbabbleError(f"{job.source}: unexpected {type(error).__name__}: {error}; please report it")
        defect.__cause__ = error
        return Outcome(job, error=defect)
    return Outcome(job, summary, notices=notices)


def _separate_into(
    folder: Path,
    source: Path,
    separator: Separator,
    audio_format: Format,
    n_sources: int | None,
    progress: Progress,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write tracks and sidecar into a fresh folder; returns the sidecar's content and the notices."""
    started = time.perf_counter()
    with open_recording(source) as recording:
        wavs = [folder / f"speaker{number + 1}.wav" for number in range(separator.model.n_tracks(n_sources))]
        mono = _reported(to_mono(recording.blocks), recording, progress)
        with TrackWriter(wavs, recording.sample_rate) as writer:
            for block in separator.separate_blocks(mono, recording.sample_rate, n_sources):
                writer.write(block)
    gain = _rewrite_as_flac(wavs, max(writer.peaks)) if audio_format == "flac" else 1.0
    summary = {
        "input": str(source),
        "unbabble": __version__,
        "model": separator.model.name,
        "model_version": separator.model.version,
        "sample_rate": recording.sample_rate,
        "channels": recording.n_channels,
        "n_samples": writer.n_samples,
        "duration_s": writer.n_samples / recording.sample_rate,
        "window_s": separator.window_s,
        "overlap_s": separator.overlap_s,
        "seconds_taken": round(time.perf_counter() - started, 3),
        "gain": gain,
        "tracks": [
            {"file": wav.with_suffix(f".{audio_format}").name, "peak_db": _decibels(peak * gain)}
            for wav, peak in zip(wavs, writer.peaks, strict=True)
        ],
    }
    with writing(folder / SIDECAR):
        (folder / SIDECAR).write_text(json.dumps(summary, indent=2) + "\n", encoding="ascii")
    return summary, tuple(_notices(source, recording.n_channels, gain))


def _rewrite_as_flac(wavs: list[Path], peak: float) -> float:
    """Replace tracks by flac, scaled together where the loudest would clip; returns the gain."""
    gain = 1 / peak if peak > 1 else 1.0
    for wav in wavs:
        wav_to_flac(wav, wav.with_suffix(".flac"), gain)
        wav.unlink()
    return gain


def _notices(source: Path, n_channels: int, gain: float) -> Iterator[str]:
    if n_channels > 1:
        yield f"{source}: {n_channels} channels averaged into one"
    if gain != 1:
        yield f"{source}: tracks scaled by {gain:.3f} together, so that flac does not clip"


def _reported(blocks: Iterable[Samples], recording: Recording, progress: Progress) -> Iterator[Samples]:
    """Pass blocks on and tell how far they have come when the next one is asked for."""
    n_done = 0
    for block in blocks:
        yield block
        n_done += block.shape[1]
        progress(n_done / recording.sample_rate, recording.duration_s)


def _decibels(peak: float) -> float | None:
    """Peak in dB of full scale; None for silence."""
    return round(20 * math.log10(peak), 2) if peak > 0 else None


def _earlier_tracks(folder: Path) -> set[str]:
    """Names of the tracks that the sidecar of an earlier run lists, if there is one."""
    try:
        tracks = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))["tracks"]
        return {Path(track["file"]).name for track in tracks}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _free(folder: Path, taken: set[Path]) -> Path:
    """The folder, or the first of folder-2, folder-3 ... that no other recording goes to."""
    number, free = 1, folder
    while free in taken:
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _readable(path: Path) -> Path:
    """The path with whatever in its name is not UTF-8 replaced, so that every library can write there."""
    return Path(os.fsencode(path).decode("utf-8", errors="replace"))


def _recordings_of(given: Path) -> tuple[list[tuple[Path, Path]], UnbabbleError | None]:
    """The recordings of an input, each with its path relative to the input; or what is wrong with it."""
    try:
        if not given.is_dir():
            return [(given, Path(given.name))], None
        found = [path for path in sorted(given.rglob("*")) if _is_recording(path)]
    except OSError as error:
        return [], AudioError(f"{given}: cannot be read: {error.strerror}; check the name and the permissions")
    if not found:
        expected = ", ".join(sorted(AUDIO_SUFFIXES))
        return [], AudioError(f"{given}: a folder without audio; expected files of {expected}")
    return [(path, path.relative_to(given)) for path in found], None


def _is_recording(path: Path) -> bool:
    """Whether a file in a folder is audio and not a result of unbabble, finished or not."""
    if path.suffix.lower() not in AUDIO_SUFFIXES or not path.is_file():
        return False
    return not UNFINISHED.search(path.parent.name) and path.name not in _earlier_tracks(path.parent)
