"""Who speaks when, as text files for other programs."""

import csv
import io
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from unbabble.errors import ArgumentError
from unbabble.tracking.activity import Turn

ACTIVITY = {"rttm": "rttm", "labels": "txt", "textgrid": "TextGrid", "csv": "csv"}  # how names of the files end


class Activity(NamedTuple):
    """Who speaks when in a recording. recording, channel (from 1): as RTTM names them; speakers: by their number."""

    recording: str
    channel: int
    duration_s: float
    speakers: Sequence[str]
    turns: Sequence[Turn]


def check_formats(formats: Sequence[str]) -> None:
    """Raise ValueError where one is unknown."""
    if unknown := [name for name in formats if name not in ACTIVITY]:
        raise ArgumentError(f"activity {unknown[0]!r} is not one of {', '.join(ACTIVITY)}")


def activity_text(activity: Activity, name: str) -> str:
    """What a file of the format ``name`` contains."""
    writers: dict[str, Callable[[Activity], str]] = {"rttm": _rttm, "labels": _labels, "textgrid": _grid, "csv": _csv}
    return writers[name](activity)


def _rttm(activity: Activity) -> str:
    """Rich Transcription Time Marked (NIST, RT-09): no field may hold a blank."""
    recording, speakers = _unbroken(activity.recording), [_unbroken(name) for name in activity.speakers]
    return "".join(
        f"SPEAKER {recording} {activity.channel} {turn.start_s:.3f} {turn.end_s - turn.start_s:.3f} "
        f"<NA> <NA> {speakers[turn.speaker]} <NA> <NA>\n"
        for turn in activity.turns
    )


def _labels(activity: Activity) -> str:
    """A label track of Audacity."""
    return "".join(
        f"{turn.start_s:.3f}\t{turn.end_s:.3f}\t{activity.speakers[turn.speaker]}\n" for turn in activity.turns
    )


def _csv(activity: Activity) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("start_s", "end_s", "speaker", "overlap_ratio"))
    writer.writerows(
        (f"{turn.start_s:.3f}", f"{turn.end_s:.3f}", activity.speakers[turn.speaker], f"{turn.overlap_ratio:.3f}")
        for turn in activity.turns
    )
    return text.getvalue()


def _grid(activity: Activity) -> str:
    """A TextGrid of Praat, with a tier for each person, which intervals with and without a text fill."""
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    span = f"xmin = 0\nxmax = {activity.duration_s:.3f}\n"
    tiers = [_tier(activity, number) for number in range(len(activity.speakers))]
    exists = f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n" if tiers else "tiers? <absent>\n"
    return head + span + exists + "".join(f"item [{n}]:\n{tier}" for n, tier in enumerate(tiers, start=1))


def _tier(activity: Activity, number: int) -> str:
    name = activity.speakers[number].replace('"', '""')
    edges = [0.0]
    for turn in activity.turns:
        if turn.speaker == number:
            edges += [turn.start_s, turn.end_s]
    edges.append(activity.duration_s)
    intervals = [
        (start, stop, name if index % 2 else "")
        for index, (start, stop) in enumerate(itertools.pairwise(edges))
        if stop > start
    ]
    head = f'class = "IntervalTier"\nname = "{name}"\nxmin = 0\nxmax = {activity.duration_s:.3f}\n'
    return (
        head
        + f"intervals: size = {len(intervals)}\n"
        + "".join(
            f'intervals [{n}]:\nxmin = {start:.3f}\nxmax = {stop:.3f}\ntext = "{text}"\n'
            for n, (start, stop, text) in enumerate(intervals, start=1)
        )
    )


def _unbroken(text: str) -> str:
    return "_".join(text.split())
