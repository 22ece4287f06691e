"""LibriCSS: sessions of ten minutes with eight talkers, of which those stretches are mixtures in which two overlap.

Of a session (arXiv 2001.11482), ``clean/mix.wav`` is what was played in the room, ``clean/each_spk.wav`` has a
channel for each talker, and ``transcription/meeting_info.txt`` says when each utterance is. What was recorded in the
room has no truth that lies on it to the sample.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from unbabble.errors import AudioError, CorpusError
from unbabble.mixing.timeline import overlap_ratio

SESSIONS = "overlap_ratio_*"  # folders, of which a subset such as OV40 has ten
SESSION = re.compile(r"session\d+")
MIXTURE, TALKERS, TIMES = "clean/mix.wav", "clean/each_spk.wav", "transcription/meeting_info.txt"
RATE = 16000
N_TALKERS = 2
HEARD = 1e-4  # of the power of the loudest: a channel with less is of somebody who is silent


class Utterance(NamedTuple):
    """Who talks when, in samples."""

    start: int
    stop: int
    speaker: str


class Excerpt(NamedTuple):
    """A stretch [start, stop) of a session, in samples, and what is known of it."""

    id: str
    session: Path
    start: int
    stop: int
    speakers: tuple[str, ...]
    overlap_ratio: float

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Mixture (samples,) and sources (talkers, samples), float32. Raises AudioError, CorpusError."""
        mixture = _samples(self.session / MIXTURE, self.start, self.stop)[:, 0]
        channels = _samples(self.session / TALKERS, self.start, self.stop).T
        power = np.square(channels).mean(1)
        heard = power > HEARD * power.max(initial=0)
        if heard.sum() != len(self.speakers):
            raise CorpusError(
                f"{self.session / TALKERS}: {heard.sum()} channels have speech from {self.start} to {self.stop}; "
                f"expected {len(self.speakers)}, those of {', '.join(self.speakers)}; copy the corpus again"
            )
        return mixture, channels[heard]


def excerpts(subset: Path) -> Iterator[Excerpt]:
    """Those of all sessions of a subset. Raises CorpusError where the times of one cannot be read."""
    for session in sorted(subset.glob(SESSIONS)):
        name = SESSION.search(session.name)
        for number, group in enumerate(_overlapping(read_times(session / TIMES))):
            speakers = tuple(sorted({one.speaker for one in group}))
            if len(speakers) == N_TALKERS:
                start, stop = group[0].start, max(one.stop for one in group)
                spans = tuple(
                    tuple((one.start, one.stop) for one in group if one.speaker == speaker) for speaker in speakers
                )
                id = f"{name[0] if name else session.name}_{number:03d}"
                yield Excerpt(id, session, start, stop, speakers, overlap_ratio(spans))


def read_times(path: Path) -> list[Utterance]:
    """The utterances of a session by their start. Raises CorpusError."""
    try:
        _head, *lines = path.read_text(encoding="utf-8").splitlines()
        rows = (line.split("\t") for line in lines if line.strip())
        return sorted(
            Utterance(round(float(a) * RATE), round(float(b) * RATE), speaker) for a, b, speaker, *_ in rows
        )
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{path}: not the times of a session ({error}); expected start, end, speaker and so on, by tabs"
        ) from None


def _overlapping(utterances: Iterable[Utterance]) -> Iterator[list[Utterance]]:
    """Utterances, by their start, in groups between which everybody is silent."""
    group, end = -1, -1

    def group_of(one: Utterance) -> int:
        nonlocal group, end
        group, end = group + (one.start >= end), max(end, one.stop)
        return group

    for _, inside in groupby(utterances, group_of):
        yield list(inside)


def _samples(path: Path, start: int, stop: int) -> np.ndarray:
    """(samples, channels), float32."""
    try:
        samples, rate = soundfile.read(path, start=start, stop=stop, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path}: cannot be read: {error}; copy the corpus again") from None
    if rate != RATE or len(samples) != stop - start:
        raise CorpusError(
            f"{path}: {rate} Hz, or shorter than its session; expected {RATE} Hz; copy the corpus again"
        )
    return np.asarray(samples)
