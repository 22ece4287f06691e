"""One recording: decoded, separated and written, block by block."""

import io
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from unbabble import __version__
from unbabble.audio import Downmix, Recording, Samples, TrackWriter, WavFile, open_recording, open_stream
from unbabble.base.output import writing
from unbabble.base.progress import UNWATCHED, Advance, Progress
from unbabble.errors import ArgumentError, ModelError, OutputError, UnbabbleError
from unbabble.files.activity import ACTIVITY, Activity, activity_text
from unbabble.files.jobs import Job, Options, find_jobs
from unbabble.files.results import SIDECAR, STAGED_SIDECAR, Place, staged
from unbabble.inference.model_folder import ModelFolder
from unbabble.inference.separator import Separator, Stream
from unbabble.tracking.activity import Turn


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the sidecar's content, or the error.

    notices: what a user should know of the recording; earlier: the result was there already.
    """

    job: Job
    summary: dict[str, Any] | None = None
    error: UnbabbleError | None = None
    notices: tuple[str, ...] = ()
    earlier: bool = False

    @property
    def tracks(self) -> list[Path]:
        """The files with the talkers, in order."""
        listed = self.summary["tracks"] if self.summary else []
        return [self.job.place.sidecar.parent / track["file"] for track in listed]


def separate_one(job: Job, separator: Separator, options: Options, advance: Advance) -> Outcome:
    """Separate one recording and write its tracks and sidecar, whole or not at all."""
    try:
        with named_errors(job):
            summary = _separate(job, separator, options, advance)
    except UnbabbleError as error:
        return Outcome(job, error=error)
    return Outcome(job, summary, notices=tuple(_notices(job, summary, separator.model)))


@contextmanager
def named_errors(job: Job) -> Iterator[None]:
    """Errors say which recording they are of; a defect of ours must not cost the user the others."""
    try:
        yield
    except BrokenPipeError:  # nobody reads what we write any more
        raise
    except UnbabbleError as error:
        named = isinstance(error, OutputError | ModelError) or str(error).startswith((job.name, str(job.source)))
        raise (error if named else type(error)(f"{job.name}: {error}")) from error.__cause__
    except Exception as error:
        message = f"{job.name}: unexpected {type(error).__name__}: {error}; please report it"
        raise UnbabbleError(message) from error


def mono_blocks(recording: Recording, downmix: Downmix, advance: Advance) -> Iterator[Samples]:
    """The blocks of a recording as one channel, telling how much of it has been taken in."""
    n_done = 0
    for block in recording.blocks:
        yield downmix.push(block)
        n_done += block.shape[1]
        advance(n_done / recording.sample_rate, recording.duration_s)


@contextmanager
def opened(job: Job, options: Options) -> Iterator[Recording]:
    """The recording of a job: a file, or what comes through a pipe. Raises AudioError."""
    if job.source is None:
        with open_stream(sys.stdin.buffer, options.raw, max_hours=options.max_hours) as recording:
            yield recording
    else:
        with open_recording(job.source, options.max_hours) as recording:
            yield recording


def separate_into_pipe(
    inputs: Sequence[str | Path], file: BinaryIO, options: Options, progress: Progress = UNWATCHED
) -> None:
    """Write all tracks of one recording side by side, as one wav whose header leaves the length open.

    A track on which nobody is heard comes as silence. ``progress`` is told where integers were clipped.

    Raises
    ------
    UnbabbleError
        Where the recording cannot be separated, or is not the only one, or the tracks cannot be written.
    BrokenPipeError
        Where nobody reads on.
    """
    jobs = find_jobs(inputs, Path(), options)
    if len(jobs) != 1:
        raise ArgumentError(f"--stdout takes one recording and one channel of it, or mix; these are {len(jobs)}")
    (job,), peak = jobs, 0.0
    with progress.task(job.name) as advance:
        separator = options.separator(options.threads)
        if options.audio_format == "flac":
            raise OutputError("flac cannot be written to standard output; expected wav; leave --format out")
        if job.error is not None:
            raise job.error
        with named_errors(job), opened(job, options) as recording:
            sink, bits = cast(BinaryIO, _Flushed(file)), options.track_format.bits
            n_sources = (
                None if options.speakers == "auto" else options.speakers
            )  # a stream begins with all its tracks
            with (
                separator.stream(recording.sample_rate, n_sources) as stream,
                WavFile(sink, recording.sample_rate, stream.n_tracks, bits, recording.tags) as wav,
            ):
                mono = mono_blocks(recording, Downmix(job.channel), advance)
                for tracks in chain(map(stream.push, mono), map(Stream.finish, [stream])):
                    wav.write(tracks)
                    peak = max(peak, float(np.abs(tracks).max(initial=0.0)))
    if peak > 1 and options.track_format.clips:
        progress.notice(f"{job.name}: tracks reach {peak:.2f} of full scale and are clipped; use --bits 32")


def _separate(job: Job, separator: Separator, options: Options, advance: Advance) -> dict[str, Any]:
    """Write tracks, activity and sidecar; returns the sidecar's content."""
    started = time.perf_counter()
    decided = job.decided(options, separator.model, separator.diarizer.folder)
    downmix = Downmix(job.channel)
    with (
        opened(job, options) as recording,
        staged(job.place) as stage,
        separator.two_pass(recording.sample_rate, options.speakers, stage) as passes,
    ):
        passes.expect(recording.duration_s or 0.0)
        for block in mono_blocks(recording, downmix, advance):
            passes.push(block)
        everyone = range(passes.finish())
        suffix = options.track_format.suffix
        paths = [stage / f"{job.place.speaker(number)}{suffix}" for number in everyone]
        with TrackWriter(paths, recording.sample_rate, options.track_format, recording.tags) as writer:
            for tracks in passes.tracks():
                writer.write(tracks)
            active = passes.active_speakers
            kept = [track for track in passes.by_appearance if options.bounds.least or track in active]
            writer.drop(set(everyone) - set(kept))
        for index in kept:  # which change places
            with writing(paths[index]):
                paths[index].rename(stage / f"{index}.track")
        for index, path in zip(kept, paths, strict=False):  # those that are left count from 1
            with writing(path):
                (stage / f"{index}.track").rename(path)
        speakers = [job.place.speaker(number) for number in range(len(kept))]
        turns = [replace(turn, speaker=kept.index(turn.speaker)) for turn in passes.turns]
        summary = {
            "input": job.name,
            **decided,
            "unbabble": __version__,
            "model": separator.model.name,
            "model_version": separator.model.version,
            "sample_rate": recording.sample_rate,
            "channels": recording.n_channels,
            "inverted_channels": [1 + index for index in downmix.inverted],
            "n_samples": writer.n_samples,
            "duration_s": writer.n_samples / recording.sample_rate,
            "window_s": separator.window_s,
            "overlap_s": separator.overlap_s,
            "seconds_taken": round(time.perf_counter() - started, 3),
            "gain": writer.gain,
            "talkers_heard": len(active),
            "tracks": [
                _track_entry(job.place, speaker, suffix, writer.peaks[index] * writer.gain)
                for index, speaker in zip(kept, speakers, strict=True)
            ],
        }
        if options.activity:
            summary["turns"] = [_turn_entry(speakers[turn.speaker], turn) for turn in turns]
        channel, duration_s = 1 + (job.channel or 0), summary["duration_s"]
        activity = Activity(job.place.track, channel, duration_s, speakers, turns)
        for name in options.activity:
            _write_text(stage / f"{SIDECAR}.{ACTIVITY[name]}", activity_text(activity, name))
        _write_text(stage / STAGED_SIDECAR, json.dumps(summary, indent=2) + "\n")
    return summary


def _track_entry(place: Place, speaker: str, suffix: str, peak: float) -> dict[str, Any]:
    file = os.path.relpath(place.path(speaker, suffix[1:]), place.sidecar.parent)
    return {"speaker": speaker, "file": Path(file).as_posix(), "peak_db": _decibels(peak)}


def _turn_entry(speaker: str, turn: Turn) -> dict[str, Any]:
    return {
        "start_s": round(turn.start_s, 3),
        "end_s": round(turn.end_s, 3),
        "speaker": speaker,
        "overlapped_share": round(turn.overlap_ratio, 3),
    }


def _notices(job: Job, summary: dict[str, Any], model: ModelFolder) -> Iterator[str]:
    if not summary["tracks"]:
        yield (
            f"{job.name}: nobody was heard, so there are no tracks; "
            f"--speakers {model.n_sources} writes {model.n_sources} all the same"
        )
    if job.channel is None and summary["channels"] > 1:
        yield f"{job.name}: {summary['channels']} channels averaged into one"
    for number in summary["inverted_channels"]:
        yield (
            f"{job.name}: channel {number} would cancel the others and was inverted for the average; "
            "--channel 1 takes one alone"
        )
    if unheard := job.place.names[len(summary["tracks"]) :]:
        yield f"{job.name}: {len(summary['tracks'])} heard, so there is no track of {', '.join(unheard)}"
    if summary["gain"] != 1:
        yield f"{job.name}: tracks scaled by {summary['gain']:.3f} together, so that none clips"


def _write_text(path: Path, text: str) -> None:
    with writing(path):
        path.write_text(text, encoding="utf-8", newline="\n")


def _decibels(peak: float) -> float | None:
    """Peak in dB of full scale; None for silence."""
    return round(20 * math.log10(peak), 2) if peak > 0 else None


class _Flushed(io.RawIOBase):
    """A file to which every block goes at once, and in which nothing can be changed later."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            left = memoryview(data)
            while left:  # a file without a buffer takes what fits into the pipe
                left = left[self._file.write(left) :]
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = f"standard output: cannot be written: {error.strerror}; check where it leads"
            raise OutputError(reason) from error
        return len(data)
