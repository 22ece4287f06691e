"""How work tells what goes on: one protocol from the separation of a file to the training of a network."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Advance = Callable[[float, float | None], None]
"""Called with how much of a task is done, and of how much where that is known."""


class Progress:
    """Is told what goes on. This one shows no tasks; a subclass, such as the command line's, shows them.

    Methods may be called by several threads.
    """

    def task(self, name: str) -> AbstractContextManager[Advance]:
        """A piece of work with a name, which ends with the block; several may go on side by side."""
        return nullcontext(lambda done, total: None)

    def notice(self, text: str) -> None:
        """A line that the user should know, such as a file that is left out: a warning of the logger ``unbabble``."""
        logging.getLogger("unbabble").warning(text)


UNWATCHED = Progress()
