"""unbabble: a recording in which people talk over each other in, one track per talker out.

>>> from unbabble import Separator
>>> tracks = Separator()(samples, sample_rate)  # doctest: +SKIP
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from unbabble.errors import (
    ArgumentError,
    AudioError,
    ClusterError,
    CorpusError,
    MissingExtra,
    ModelError,
    OutputError,
    RecipeError,
    TrainingError,
    UnbabbleError,
)

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports to its makers once it is imported

__version__ = "0.1.0"
__all__ = [
    "ArgumentError",
    "AudioError",
    "ClusterError",
    "CorpusError",
    "MissingExtra",
    "ModelError",
    "OutputError",
    "RecipeError",
    "Separator",
    "Stream",
    "TrainingError",
    "UnbabbleError",
    "__version__",
    "compare",
    "corpus",
    "evaluate",
    "export",
    "models",
    "push",
    "quantize",
    "rooms",
    "separate",
    "simulate",
    "train",
]

if TYPE_CHECKING:
    from unbabble.api import compare, corpus, evaluate, export, models, push, quantize, rooms, simulate, train
    from unbabble.files import separate
    from unbabble.inference.separator import Separator, Stream

SEPARATOR = "unbabble.inference.separator"
HOMES = {"Separator": SEPARATOR, "Stream": SEPARATOR, "separate": "unbabble.files"}  # of the others: unbabble.api


def __getattr__(name: str) -> Any:  # on first use, so that importing the package costs nothing
    if name in __all__:
        return getattr(import_module(HOMES.get(name, "unbabble.api")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
