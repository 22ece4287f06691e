"""The model folder: what stands between making a network and using it.

``model.json`` (the card), ONNX graphs and ``weights.safetensors``. A model is such a folder, or the name of one that
comes with the package. Its ``kind`` is what it does: separation or diarization.
"""

import hashlib
import os
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from unbabble.audio import RATES_HZ
from unbabble.base.reading import from_json
from unbabble.errors import ModelError
from unbabble.inference.hub import download, hub_name
from unbabble.tracking.parameters import Parameters

BUNDLED = Path(__file__).parents[1] / "models"
CARD = "model.json"
WEIGHTS = "weights.safetensors"
SEPARATOR, ENCODER, DECODER = "separator.onnx", "encoder.onnx", "decoder.onnx"
DIARIZER, DIARIZER_GRAPH = "diarizer", "diarizer.onnx"  # the one that comes with the package
FILES = frozenset({CARD, WEIGHTS, SEPARATOR, ENCODER, DECODER, DIARIZER_GRAPH})
OLD_DIARIZER, OLD_CARD, OLD_DIARIZER_GRAPH = "listener", "listener.json", "listener.onnx"  # of before model.json
FORMAT = 1
SEPARATION, DIARIZATION = "separation", "diarization"
MOST_SOURCES = 8  # keeping talkers on their tracks tries every order
WINDOWS_S = (0.5, 600.0)  # a window is held in memory
SHORTEST_OVERLAP_S = 0.01
MOST_DIMENSIONS = 4096  # of embeddings


@dataclass(frozen=True)
class ModelFolder:
    """A checked folder of a separator.

    Attributes
    ----------
    sample_rate
        In Hz, of mixtures and estimates.
    n_sources
        How many tracks it gives by default.
    any_sources
        Whether it can be asked for another number (SISO-only designs).
    window_s, overlap_s
        How much it separates at once, and what neighbouring windows share, in seconds.
    """

    path: Path
    card: dict[str, Any]
    name: str
    version: str
    sample_rate: int
    n_sources: int
    any_sources: bool
    window_s: float
    overlap_s: float

    def n_tracks(self, wanted: int | None) -> int:
        """How many tracks to give: the model's number unless another is wanted; ModelError if it cannot.

        One talker needs no separating, so that any model can give one track.
        """
        if wanted is None or wanted == self.n_sources:
            return self.n_sources
        if wanted == 1:
            return 1
        if not self.any_sources:
            raise ModelError(
                f"model {self.name} gives {self.n_sources} tracks, or 1, not {wanted!r}; "
                "only a SISO-only model can give any number"
            )
        if not isinstance(wanted, Integral) or not 1 <= wanted <= MOST_SOURCES:
            raise ModelError(f"{wanted!r} tracks cannot be given; expected 1 to {MOST_SOURCES}")
        return int(wanted)

    @property
    def graphs(self) -> dict[str, Path]:
        """The ONNX graphs by their role: ``separator``, or ``encoder`` and ``decoder``."""
        names = (ENCODER, DECODER) if self.any_sources else (SEPARATOR,)
        return {Path(name).stem: self.path / name for name in names}


def open_model(model: str | Path) -> ModelFolder:
    """Find a separator by its name or folder and check that it is whole.

    Raises
    ------
    ModelError
        Where the name is unknown, or the folder incomplete, damaged, of another format or kind.
    """
    folder = find_folder(model)
    card = read_card(folder, SEPARATION)
    n_sources = card.whole_number("trained_sources", 1, MOST_SOURCES)
    window_s = card.number("window_s", *WINDOWS_S)
    opened = ModelFolder(
        folder,
        card.values,
        name=card.text("name"),
        version=card.text("version"),
        sample_rate=card.whole_number("sample_rate", *RATES_HZ),
        n_sources=n_sources,
        any_sources=card.one_of("n_sources", "any", n_sources) == "any",
        window_s=window_s,
        overlap_s=card.number("overlap_s", SHORTEST_OVERLAP_S, window_s / 2),
    )
    checksums = card.texts("checksums")
    for path in opened.graphs.values():
        check_file(path, checksums)
    return opened


@dataclass(frozen=True)
class DiarizerFolder:
    """A checked folder of a diarizer.

    Attributes
    ----------
    sample_rate
        In Hz, of what its graph is given.
    embedding_size, embeddings
        Dimensions of the speaker embeddings, and what the graph calls them.
    tracking
        The numbers with which people are found and followed, tuned for it: the card's ``tracking``.
    """

    path: Path
    card: dict[str, Any]
    sample_rate: int
    embedding_size: int
    graph: Path
    embeddings: str
    checksums: dict[str, str]
    tracking: Parameters


def open_diarizer(diarizer: str | Path = DIARIZER) -> DiarizerFolder:
    """Find a diarizer by its name or folder and check that it is whole.

    Raises
    ------
    ModelError
        Where the name is unknown, or the folder incomplete, damaged, of another format or kind.
    """
    folder = find_folder(DIARIZER if diarizer == OLD_DIARIZER else diarizer, DIARIZATION)
    is_old = not (folder / CARD).exists() and (folder / OLD_CARD).exists()
    if is_old:
        card = Card(folder / OLD_CARD, read_json(folder / OLD_CARD))
        size_key, graph, embeddings = "voice_size", OLD_DIARIZER_GRAPH, "voices"
    else:
        card = read_card(folder, DIARIZATION)
        size_key, graph, embeddings = "embedding_size", DIARIZER_GRAPH, "embeddings"
    opened = DiarizerFolder(
        folder,
        card.values,
        card.whole_number("sample_rate", *RATES_HZ),
        card.whole_number(size_key, 1, MOST_DIMENSIONS),
        folder / graph,
        embeddings,
        card.texts("checksums"),
        _tracking(card),
    )
    check_file(opened.graph, opened.checksums, card.path.name)
    return opened


@dataclass(frozen=True)
class Card:
    """What a folder says of itself in JSON, of which nothing is believed unchecked: fields or ModelError."""

    path: Path
    values: dict[str, Any]

    def whole_number(self, key: str, least: int, most: int) -> int:
        expected = f"a whole number from {least} to {most}"
        return int(self._checked(key, expected, lambda value: type(value) is int and least <= value <= most))

    def number(self, key: str, least: float, most: float) -> float:
        expected = f"a number from {least:g} to {most:g}"
        return float(
            self._checked(key, expected, lambda value: type(value) in (int, float) and least <= value <= most)
        )

    def one_of(self, key: str, *values: Any) -> Any:
        return self._checked(key, " or ".join(map(repr, values)), lambda value: value in values)

    def text(self, key: str) -> str:
        return str(self._checked(key, "a line of text", lambda value: isinstance(value, str) and value.isprintable()))

    def texts(self, key: str) -> dict[str, str]:
        """Texts by name."""
        return dict(self._checked(key, "texts by name", _are_texts))

    def _checked(self, key: str, expected: str, is_fit: Callable[[Any], bool]) -> Any:
        if key not in self.values:
            raise ModelError(f"{self.path}: has no {key}; expected {expected}; export the model again")
        if not is_fit(value := self.values[key]):
            raise ModelError(
                f"{self.path}: {key} is {reprlib.repr(value)}; expected {expected}; export the model again"
            )
        return value


def read_card(folder: Path, kind: str) -> Card:
    """The card of a folder. Raises ModelError where there is none, or it is of another format or kind."""
    path = folder / CARD
    if not path.exists():
        raise ModelError(f"{folder}: not a model folder: it has no {CARD}")
    card = Card(path, read_json(path))
    if card.values.get("format") != FORMAT:
        raise ModelError(f"{path}: not a model of format {FORMAT}; use a matching version of unbabble")
    if (found := kind_of(card.values)) != kind:
        raise ModelError(f"{folder}: a model for {reprlib.repr(found)}; expected one for {kind!r}")
    return card


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds a JSON object. Raises ModelError where it holds anything else."""
    try:
        values = from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error}); get the model again") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path}: not a card of a model; get the model again")
    return values


def kind_of(card: dict[str, Any]) -> Any:
    """What a model does, by its card; cards of before there were kinds are of separators."""
    return card.get("kind", SEPARATION)


def bundled_models(kind: str = SEPARATION) -> tuple[str, ...]:
    """Names of the models of a kind that come with the package."""
    cards = sorted(BUNDLED.glob(f"*/{CARD}"))
    return tuple(path.parent.name for path in cards if kind_of(read_json(path)) == kind)


def find_folder(model: str | Path, kind: str = SEPARATION) -> Path:
    """The folder of a model of a kind.

    A string that is the name of a bundled one means that, whatever lies in the working folder; ``OWNER/NAME`` or
    ``OWNER/NAME@REVISION``, where nothing here is called OWNER, is on the Hub (``hub.download``); any other, such as
    ``./default``, and every Path is a folder. Raises ModelError where there is none, MissingExtra without the extra
    ``hub``.
    """
    if isinstance(model, str) and model in bundled_models(kind):
        return BUNDLED / model
    folder = Path(model)
    if os.path.isdir(folder):  # Path.is_dir raises OSError for names that are too long
        return folder
    if isinstance(model, str) and (name := hub_name(model)) and not os.path.exists(model.partition("/")[0]):
        return download(name, FILES, CARD, lambda there: read_card(there, kind))
    names = ", ".join(bundled_models(kind)) or "none"
    raise ModelError(f"{model}: no such model; give a model folder, OWNER/NAME on the Hub, or one of: {names}")


def portable(folder: Path) -> str | Path:
    """What finds a model's folder in another process: the name of a bundled one, or the whole path."""
    return folder.name if folder.parent == BUNDLED else folder.absolute()


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_file(path: Path, checksums: dict[str, str], card: str = CARD) -> None:
    """Raise ModelError where a file of a folder is missing or is not the one that the folder's card lists."""
    try:
        found = checksum(path)
    except OSError:
        raise ModelError(f"{path}: missing from its folder, or not readable; get the folder again") from None
    if found != checksums.get(path.name):
        raise ModelError(f"{path}: checksum differs from that in {card}: damaged or changed; get the folder again")


def _tracking(card: Card) -> Parameters:
    """The numbers of tracking that a card has, else the defaults. Raises ModelError."""
    values = card.values.get("tracking", {})
    try:
        return Parameters.of(values)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{card.path}: tracking is {reprlib.repr(values)}: {error}; export the model again"
        ) from None


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
