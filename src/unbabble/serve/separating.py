"""The one place where the server meets the separator: what the command line does, for a file and its options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbabble.errors import ArgumentError, ModelError, in_one_line
from unbabble.files import Options, find_jobs
from unbabble.files.one import separate_one
from unbabble.files.results import safe, track_of
from unbabble.inference.model_folder import ModelFolder, open_model
from unbabble.inference.separator import Separator

__all__ = ["Models", "Outcome", "SeparatorOf", "safe", "separate_file", "title_of"]

SIDECAR, RTTM = "separation.json", "separation.rttm"
MOST_DIGITS = 4  # of a number that can be anything but wrong
CHOICES = ("speakers", "channel", "format", "bits", "window_s", "overlap_s")


@dataclass(frozen=True)
class Outcome:
    """What became of a recording. error: one line, which names it."""

    error: str | None = None
    notices: tuple[str, ...] = ()


class Models:
    """The models that clients may choose from, by name. Raises ModelError where one cannot be used."""

    def __init__(self, models: Sequence[str]) -> None:
        self.places: dict[str, str] = {}
        self.folders: dict[str, ModelFolder] = {}
        for model in models:
            folder = open_model(model)
            if folder.name in self.places:
                raise ModelError(f"{model}: a model named {folder.name} is offered already; expected another name")
            self.places[folder.name], self.folders[folder.name] = model, folder

    @property
    def default(self) -> str:
        return next(iter(self.places))

    def options(self, model: str | None, choices: Mapping[str, Any]) -> dict[str, Any]:
        """What was chosen, as it is kept. Raises ModelError, ArgumentError where it cannot be."""
        name = model or self.default
        if name not in self.places:
            raise ModelError(f"{name}: no such model; expected one of: {', '.join(self.places)}")
        chosen = {key: _plain(choices[key]) for key in CHOICES if choices.get(key) is not None}
        options = {"model": name, **chosen}
        if options.get("channel") == "each":
            reason = "channel 'each' gives several results"
            raise ArgumentError(f"{reason}; expected mix or a number; send the recording once for each")
        _options(options, "", 1.0)
        return options

    def place(self, options: Mapping[str, Any]) -> str:
        """What the separator is to open for options that were kept. Raises ModelError."""
        if options["model"] not in self.places:
            raise ModelError(f"{options['model']}: no such model any more; send the recording again")
        return self.places[options["model"]]


def _plain(value: Any) -> Any:
    """A form's texts that are whole numbers, as numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= MOST_DIGITS else value


def _options(choices: Mapping[str, Any], diarizer: str, max_hours: float, model: str | None = None) -> Options:
    fixed: dict[str, Any] = {"filename": "{speaker}.{ext}", "activity": "rttm", "force": True}
    named = {("audio_format" if name == "format" else name): value for name, value in choices.items()}
    named["model"] = model or named["model"]
    return Options(**named, **fixed, diarizer=diarizer, max_hours=max_hours)


class SeparatorOf:
    """Makes separators, and keeps the last, since loading takes as long as separating half a minute."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._key: tuple[Any, ...] | None = None
        self._separator: Separator | None = None

    def __call__(self, options: Options) -> Separator:
        key = (options.model, options.window_s, options.overlap_s, options.diarizer)
        if self._separator is None or key != self._key:
            self._separator, self._key = options.separator(self._threads), key
        return self._separator


def separate_file(
    source: Path,
    out: Path,
    choices: Mapping[str, Any],
    *,
    name: str,
    model: str,
    diarizer: str,
    max_hours: float,
    separator_of: SeparatorOf,
    progress: Callable[[float, float | None], None],
) -> Outcome:
    """Separate a file into ``out``: speaker1.wav ..., separation.json, separation.rttm.

    name: what the user calls the recording, which errors and notices say; the file's own name says nothing.
    """
    options = _options(choices, diarizer, max_hours, model)
    (job,) = find_jobs([source], out, options)
    try:
        separator = separator_of(options)
    except ArgumentError as error:
        return Outcome(f"{name}: {error}")
    outcome = separate_one(job, separator, options, progress)

    def told(message: object) -> str:
        return in_one_line(str(message).replace(job.name, name).replace(str(source), name))

    return Outcome(None if outcome.error is None else told(outcome.error), tuple(map(told, outcome.notices)))


def title_of(name: str) -> str:
    """The name of a recording without its suffix, as the command line names results."""
    return track_of(Path(name))
