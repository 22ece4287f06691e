"""What a user sees while a command runs."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class State:
    """What the flags before the command set."""

    debug = False


class Screen:
    """What a user sees: results on standard output; notices, errors and a progress bar on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._console = Console(stderr=True)
        self._bar = Progress(
            *columns,
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @contextmanager
    def progress(self, name: str) -> Iterator[Callable[[float, float | None], None]]:
        """A bar for one piece of work; gives what moves it: how much is done, and of how much."""
        with self._bar:
            task = self._bar.add_task(name, total=None)
            yield lambda done, total: self._bar.update(task, completed=done, total=total)
            self._bar.remove_task(task)

    def result(self, text: object) -> None:
        """Print to standard output, unless quiet."""
        if not self.quiet:
            print(text)

    def notice(self, text: str) -> None:
        """Print to standard error, unless quiet."""
        if not self.quiet:
            self.say(f"note: {text}")

    def complain(self, error: BaseException) -> None:
        """Print an error as one line, after its traceback with --debug."""
        if State.debug:
            traceback.print_exception(error)
        self.say(f"error: {' '.join(str(error).split())}")

    def say(self, line: str) -> None:
        """One line to standard error."""
        print(line, file=sys.stderr)
