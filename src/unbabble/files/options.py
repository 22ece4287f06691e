"""What a user may choose."""

from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from unbabble.audio import RawFormat, TrackFormat
from unbabble.files.naming import FILENAME, Template
from unbabble.inference.model_folder import ModelFolder
from unbabble.inference.separator import Separator
from unbabble.tracking.diarizer import DEFAULT as DIARIZER
from unbabble.tracking.diarizer import DiarizerFolder

Format = Literal["wav", "flac"]
FORMATS: tuple[Format, ...] = get_args(Format)
TRACK_FORMATS: dict[tuple[Format, int], TrackFormat] = {
    ("wav", 32): "wav32",
    ("wav", 24): "wav24",
    ("wav", 16): "wav16",
    ("flac", 24): "flac",
}
DEFAULT_BITS: dict[Format, int] = {"wav": 32, "flac": 24}


@dataclass(frozen=True)
class Options:
    """How recordings are separated and what is written: the flags of ``unbabble separate``.

    model: a bundled model's name or a model folder; speakers: ``"auto"`` leaves out tracks without an
    active speaker, a number gives that many; channel: ``"mix"`` averages all, a number (1 is the first) takes that
    one, ``"each"`` separates every channel by itself; audio_format and bits: wav of 16, 24 or 32 (float), flac of 24;
    filename: where tracks go below the folder for the results, see ``Template``; activity: write who speaks when;
    force: replace what lies there; window_s, overlap_s, diarizer: see ``Separator``; jobs: processes, which share
    ``threads``; raw: how to read standard input that has no header; max_hours: how long a recording may be, by
    default as long as its size makes likely.
    Raises ValueError where one of them cannot be.
    """

    model: str | Path = "default"
    speakers: int | Literal["auto"] = "auto"
    channel: int | Literal["mix", "each"] = "mix"
    audio_format: Format = "wav"
    bits: int | None = None
    filename: str = FILENAME
    activity: bool = False
    force: bool = False
    window_s: float | None = None
    overlap_s: float | None = None
    jobs: int = 1
    threads: int | None = None
    raw: RawFormat | None = None
    max_hours: float | None = None
    diarizer: str | Path = DIARIZER
    listener: InitVar[str | Path | None] = None  # the old name of diarizer

    def __post_init__(self, listener: str | Path | None) -> None:
        if listener is not None:
            object.__setattr__(self, "diarizer", listener)
        Template(self.filename)
        if self.audio_format not in FORMATS:
            raise ValueError(f"format {self.audio_format!r} is not one of {', '.join(FORMATS)}")
        if (self.audio_format, self._bits) not in TRACK_FORMATS:
            possible = " or ".join(str(bits) for name, bits in TRACK_FORMATS if name == self.audio_format)
            raise ValueError(f"{self.audio_format} has {possible} bits, not {self._bits}")
        if self.max_hours is not None and not self.max_hours > 0:
            raise ValueError(f"max_hours {self.max_hours} is not a number above 0")
        for name, words in (("speakers", ("auto",)), ("channel", ("mix", "each")), ("jobs", ())):
            value = getattr(self, name)
            if value not in words and not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name} {value!r} is not {' or '.join((*words, 'a number from 1'))}")

    @property
    def track_format(self) -> TrackFormat:
        return TRACK_FORMATS[self.audio_format, self._bits]

    @property
    def n_sources(self) -> int | None:
        """How many tracks are forced; None leaves it to the active speakers."""
        return None if self.speakers == "auto" else self.speakers

    def separator(self, threads: int | None) -> Separator:
        """A separator as chosen. Raises ModelError; ValueError for the window."""
        return Separator(
            self.model, window_s=self.window_s, overlap_s=self.overlap_s, threads=threads, diarizer=self.diarizer
        )

    def deciding(self, model: ModelFolder, diarizer: DiarizerFolder) -> dict[str, Any]:
        """All of them that decide what is written, for the sidecar."""
        return {
            "model": model.card["checksums"],
            "listener": diarizer.checksums,
            "speakers": self.speakers,
            "format": self.track_format,
            "window_s": self.window_s,
            "overlap_s": self.overlap_s,
            "activity": self.activity,
        }

    @property
    def _bits(self) -> int:
        return DEFAULT_BITS[self.audio_format] if self.bits is None else self.bits
