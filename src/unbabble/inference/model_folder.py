"""The model folder: what stands between making a separator and using it.

``model.json`` (the card), ONNX graphs and ``weights.safetensors``. A model is a folder of that kind, or the
name of one that comes with the package.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbabble.errors import ModelError

BUNDLED = Path(__file__).parents[1] / "models"
CARD = "model.json"
WEIGHTS = "weights.safetensors"
SEPARATOR, ENCODER, DECODER = "separator.onnx", "encoder.onnx", "decoder.onnx"
FORMAT = 1
MOST_SOURCES = 8  # keeping talkers on their tracks tries every order


@dataclass(frozen=True)
class ModelFolder:
    """A checked model folder.

    card: the whole of model.json; sample_rate in Hz; n_sources: how many tracks it gives by default;
    any_sources: whether it can be asked for another number (SISO-only designs).
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
                f"model {self.name} gives {self.n_sources} tracks, or 1, not {wanted}; "
                "only a SISO-only model can give any number"
            )
        if not 1 <= wanted <= MOST_SOURCES:
            raise ModelError(f"{wanted} tracks cannot be given; expected 1 to {MOST_SOURCES}")
        return wanted

    @property
    def graphs(self) -> dict[str, Path]:
        """The ONNX graphs by their role: ``separator``, or ``encoder`` and ``decoder``."""
        names = (ENCODER, DECODER) if self.any_sources else (SEPARATOR,)
        return {Path(name).stem: self.path / name for name in names}


def open_model(model: str | Path) -> ModelFolder:
    """Find a model by its name or folder and check that it is whole.

    Raises ModelError where the name is unknown, or the folder incomplete, damaged or of another format.
    """
    folder = _find(model)
    card = _read_card(folder)
    try:
        opened = ModelFolder(
            folder,
            card,
            name=str(card["name"]),
            version=str(card["version"]),
            sample_rate=int(card["sample_rate"]),
            n_sources=int(card["trained_sources"]),
            any_sources=card["n_sources"] == "any",
            window_s=float(card["window_s"]),
            overlap_s=float(card["overlap_s"]),
        )
        checksums = {str(name): str(digest) for name, digest in card["checksums"].items()}
        if opened.sample_rate < 1 or not 1 <= opened.n_sources <= MOST_SOURCES:
            raise ValueError("sample_rate or trained_sources out of range")
        if not 0 < opened.overlap_s <= opened.window_s / 2 < math.inf:
            raise ValueError("window_s or overlap_s out of range")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder / CARD}: a field is missing or wrong ({error}); export the model again") from None
    for path in opened.graphs.values():
        check_file(path, checksums)
    return opened


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}")))


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


def _find(model: str | Path) -> Path:
    if str(model) in bundled_models():
        return BUNDLED / str(model)
    folder = Path(model)
    if not folder.is_dir():
        raise ModelError(
            f"{model}: no such model; give a model folder or one of: {', '.join(bundled_models()) or 'none'}"
        )
    return folder


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: not a model folder: it has no {CARD}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error}); get the model again") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelError(f"{path}: not a model of format {FORMAT}; use a matching version of unbabble")
    return card
