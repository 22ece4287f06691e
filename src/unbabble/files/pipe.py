"""Tracks into a pipe, as they are made."""

import io
from typing import BinaryIO, cast

import numpy as np

from unbabble.audio import Downmix, WavFile
from unbabble.base.progress import Progress, unwatched
from unbabble.errors import OutputError
from unbabble.files.finding import Job
from unbabble.files.one import named_errors, opened, separated_blocks
from unbabble.files.options import Options


def separate_into_pipe(job: Job, options: Options, file: BinaryIO, progress: Progress = unwatched) -> float:
    """Write all tracks of a recording side by side, as one wav whose header leaves the length open.

    A track on which nobody is heard comes as silence. Returns the largest magnitude: beyond 1, integers were
    clipped. Raises UnbabbleError; BrokenPipeError where nobody reads on.
    """
    separator = options.separator(options.threads)
    track_format = options.track_format
    if track_format == "flac":
        raise OutputError("flac cannot be written to standard output; expected wav; leave --format out")
    if job.error is not None:
        raise job.error
    peak = 0.0
    with named_errors(job), opened(job, options) as recording:
        stream = separator.stream(recording.sample_rate, options.n_sources)
        sink = cast(BinaryIO, _Flushed(file))
        with WavFile(sink, recording.sample_rate, stream.n_tracks, track_format, recording.tags) as wav:
            for block in separated_blocks(recording, stream, Downmix(job.channel), progress):
                wav.write(block)
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
    return peak


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
