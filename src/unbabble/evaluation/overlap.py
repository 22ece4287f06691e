"""How much talkers overlap where a set does not say so: measured from the sources."""

import numpy as np

from unbabble.evaluation.metrics import Samples
from unbabble.mixing.timeline import Span, overlap_ratio
from unbabble.tracking.activity import frame_power

FRAME_S = 0.02
FLOOR_DB = -40  # of a frame, under the loudest of its source: quieter is silence
PAUSE_S = 0.5  # a shorter silence belongs to an utterance


def measured_overlap(sources: Samples, sample_rate: int) -> float:
    """The fraction of a talker's speech during which another talks as well: (sources, samples) -> 0 to 1."""
    return overlap_ratio(tuple(talking(source, sample_rate) for source in sources))


def talking(source: Samples, sample_rate: int) -> tuple[Span, ...]:
    """When (samples,) are speech: spans of frames over the floor, joined where less than a pause is between."""
    length = round(FRAME_S * sample_rate)
    (power,) = frame_power(source[np.newaxis].astype(np.float64), length)
    loud = np.flatnonzero(power > power.max(initial=0) * 10 ** (FLOOR_DB / 10))
    if loud.size == 0:
        return ()
    pauses = np.flatnonzero(np.diff(loud) - 1 >= PAUSE_S / FRAME_S)
    starts = loud[np.append(0, pauses + 1)] * length
    stops = np.minimum((loud[np.append(pauses, -1)] + 1) * length, source.size)
    return tuple(zip(starts.tolist(), stops.tolist(), strict=True))
