"""unbabble: a recording in which people talk over each other in, one track per talker out.

>>> from unbabble import Separator
>>> tracks = Separator()(samples, sample_rate)  # doctest: +SKIP
"""

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports to its makers once it is imported

__version__ = "0.1.0"
__all__ = ["Separator", "__version__", "separate"]

if TYPE_CHECKING:
    from unbabble.files import separate
    from unbabble.inference.separator import Separator


def __getattr__(name: str) -> Any:  # on first use, so that importing the package costs nothing
    if name == "Separator":
        from unbabble.inference.separator import Separator

        return Separator
    if name == "separate":
        from unbabble.files import separate

        return separate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
