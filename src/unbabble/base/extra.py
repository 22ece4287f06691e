"""What needs more than the base installation."""

from collections.abc import Iterator
from contextlib import contextmanager

from unbabble.errors import MissingExtra


@contextmanager
def extra(command: str) -> Iterator[None]:
    """Name the installation that a command needs, where a package of it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"unbabble {command} ({error.name})", "train") from error
