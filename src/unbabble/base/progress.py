"""How work tells how far it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Progress = Callable[[float, float | None], None]
"""Told how much is done, and of how much where that is known."""

Stage = Callable[[str], AbstractContextManager[Progress]]
"""Begins a piece of work by its name; what it gives is told of the progress until the work ends."""


def unwatched(done: float, total: float | None) -> None:
    """Progress that nobody looks at."""


def unwatched_stage(name: str) -> AbstractContextManager[Progress]:
    """Work that nobody looks at."""
    return nullcontext(unwatched)
