"""Who talks when: speech in clean signals, and turns."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.bool_]
Float = TypeVar("Float", bound=np.floating)

FRAME_S = 0.04
RANGE_DB = 40.0  # of speech: what is further below its loud frames is a pause
LONGEST_GAP_S = 0.25  # within a word or between two
SHORTEST_S = 0.1


@dataclass(frozen=True)
class Turn:
    """A stretch of one talker's speech. speaker: 0-based; overlap_ratio: of its time, in which others talk too."""

    speaker: int
    start_s: float
    end_s: float
    overlap_ratio: float


def speech_frames(signals: NDArray[np.float32], sample_rate: int) -> Frames:
    """Speech activity of talkers that were recorded apart: (talkers, samples) -> (talkers, frames of 40 ms).

    A frame is speech that is at most 40 dB below the talker's loud ones; short gaps are filled, clicks left out.
    """
    power = frame_power(signals, round(FRAME_S * sample_rate))
    loud = np.array([np.quantile(row[row > 0], 0.95) if row.any() else 1.0 for row in power])
    talking = power > loud[:, None] * 10 ** (-RANGE_DB / 10)
    return np.stack([smooth(row) for row in talking]) if len(talking) else talking


def frame_power(signals: NDArray[Float], frame: int) -> NDArray[Float]:
    """Mean square of every frame, the last padded with zeros: (rows, samples) -> (rows, frames)."""
    padded = np.pad(signals, ((0, 0), (0, -signals.shape[1] % frame)))
    power: NDArray[Float] = np.square(padded.reshape(len(signals), padded.shape[1] // frame, frame)).mean(2)
    return power


def smooth(frames: Frames, gap_s: float = LONGEST_GAP_S, shortest_s: float = SHORTEST_S) -> Frames:
    """Fill gaps of at most ``gap_s``, then leave out what is shorter than ``shortest_s``: (frames,)."""
    smoothed = frames.copy()
    for value, longest_s in ((True, gap_s), (False, shortest_s)):
        for start, stop in runs(smoothed != value):
            inside = start > 0 and stop < len(smoothed) if value else True
            if inside and (stop - start) * FRAME_S <= longest_s:
                smoothed[start:stop] = value
    return smoothed


def runs(frames: Frames) -> list[tuple[int, int]]:
    """[start, stop) of every unbroken stretch of True, in permutation."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], frames, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def turns_of(talking: Frames) -> tuple[Turn, ...]:
    """(talkers, frames) -> the turns of all, by their start."""
    shared = talking.sum(0) > 1
    turns = [
        Turn(speaker, start * FRAME_S, stop * FRAME_S, float(shared[start:stop].mean()))
        for speaker, row in enumerate(talking)
        for start, stop in runs(row)
    ]
    return tuple(sorted(turns, key=lambda turn: (turn.start_s, turn.speaker)))
