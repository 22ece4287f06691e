"""What the API says, as JSON."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from unbabble.serve.queue import Progress
from unbabble.serve.separating import Models
from unbabble.serve.settings import Limits
from unbabble.serve.store import Recording, Result, State


class ErrorView(BaseModel):
    error: str = Field(description="One line: what was wrong, what was expected, what to do.")


class TrackView(BaseModel):
    id: str = Field(description="speaker1, speaker2 ...")
    name: str = Field(description="As it was given, or Talker 1, Talker 2 ...")
    url: str = Field(description="The file, of which ranges can be asked for.")
    peak_db: float | None = Field(description="Of full scale; null for silence.")
    talks_s: float = Field(description="For how long the talker talks.")


class TurnView(BaseModel):
    track: str
    start_s: float
    end_s: float
    overlapped_share: float = Field(description="The part of it in which others talk as well.")


class RecordingView(BaseModel):
    """A recording; all below ``notices`` is null or empty until it is done."""

    id: str
    name: str
    state: State
    created: float = Field(description="Seconds since 1970.")
    expires: float = Field(description="When it is deleted, in seconds since 1970.")
    options: dict[str, Any]
    position: int | None = Field(description="How many are before it, while it is queued.")
    progress: float = Field(description="From 0 to 1.")
    seconds_left: float | None
    error: str | None
    notices: list[str]
    duration_s: float | None = None
    sample_rate: int | None = None
    n_samples: int | None = None
    talkers_heard: int | None = None
    tracks: list[TrackView] = []
    activity: list[TurnView] = []


class NamesView(BaseModel):
    """Names of talkers; an empty one takes the name away."""

    names: dict[str, str] = Field(examples=[{"speaker1": "Ann"}])


class ModelView(BaseModel):
    name: str
    version: str
    sample_rate: int
    tracks: int | Literal["any"] = Field(description="How many it gives.")
    license: str | None


class ServerView(BaseModel):
    models: list[ModelView] = Field(description="The first is the default.")
    max_mb: float
    max_hours: float
    keep_hours: float
    version: str


class HealthView(BaseModel):
    status: Literal["ok"] = "ok"
    queued: int
    running: int


def recording_view(
    recording: Recording, progress: Progress, result: Result | None, keep_hours: float, with_activity: bool
) -> RecordingView:
    view = RecordingView(
        id=recording.id,
        name=recording.name,
        state=recording.state,
        created=recording.created,
        expires=recording.created + 3600 * keep_hours,
        options=recording.options,
        position=progress.position,
        progress=progress.done,
        seconds_left=progress.seconds_left,
        error=recording.error,
        notices=list(recording.notices),
    )
    return view if result is None else view.model_copy(update=_made(result, with_activity))


def _made(result: Result, with_activity: bool) -> dict[str, Any]:
    summary = result.summary
    talks_s = dict.fromkeys(result.tracks, 0.0)
    for turn in summary["turns"]:
        talks_s[turn["speaker"]] += turn["end_s"] - turn["start_s"]
    tracks = [
        TrackView(
            id=entry["speaker"],
            name=result.recording.names.get(entry["speaker"], f"Talker {number}"),
            url=f"/api/recordings/{result.recording.id}/tracks/{entry['file']}",
            peak_db=entry["peak_db"],
            talks_s=round(talks_s[entry["speaker"]], 3),
        )
        for number, entry in enumerate(summary["tracks"], start=1)
    ]
    facts = {name: summary[name] for name in ("duration_s", "sample_rate", "n_samples", "talkers_heard")}
    turns = summary["turns"] if with_activity else ()
    return {**facts, "tracks": tracks, "activity": [TurnView(track=turn["speaker"], **turn) for turn in turns]}


def server_view(models: Models, limits: Limits, version: str) -> ServerView:
    return ServerView(
        models=[
            ModelView(
                name=name,
                version=folder.version,
                sample_rate=folder.sample_rate,
                tracks="any" if folder.any_sources else folder.n_sources,
                license=folder.card.get("license", folder.card.get("licence")),
            )
            for name, folder in models.folders.items()
        ],
        max_mb=limits.max_mb,
        max_hours=limits.max_hours,
        keep_hours=limits.keep_hours,
        version=version,
    )
