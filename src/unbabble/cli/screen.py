"""What a user sees while a command runs."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, TextIO

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from unbabble.base.progress import Advance, Progress
from unbabble.errors import in_one_line

Device = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda|coreml|directml", help="What runs the networks; auto: a GPU, if any.")
]

Cluster = Annotated[
    str | None,
    typer.Option(metavar="auto|local|ray://HOST:PORT", help="Ray cluster to work on, which also takes URLs."),
]


class State:
    """What the flags before the command set."""

    debug = False


class Screen(Progress):
    """What a user sees: results on standard output; notices, errors and a progress bar on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        name = TextColumn("{task.description}", markup=False)  # a file's may hold brackets
        self._console = Console(stderr=True)
        self._bar = Bars(
            *(name, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @contextmanager
    def task(self, name: str) -> Iterator[Advance]:
        """A bar, which is seen until all is done."""
        self._bar.start()
        task = self._bar.add_task(name, total=None)

        def advance(done: float, total: float | None) -> None:
            self._bar.update(task, completed=done, total=total, visible=not total or done < total)

        try:
            yield advance
        finally:
            self._bar.remove_task(task)
            if not self._bar.task_ids:
                self._bar.stop()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on standard error, unless quiet: drawn on a terminal, else columns of plain text."""
        if self.quiet:
            return
        if self._console.is_terminal:
            table = Table(*columns, box=SIMPLE)
            for row in rows:
                table.add_row(*map(Text, row))
            self._console.print(table)
            return
        for line in in_columns([columns, *rows]):
            self.say(line)

    def result(self, text: object) -> None:
        """Print to standard output, unless quiet."""
        if not self.quiet:
            self._print(str(text), sys.stdout)

    def notice(self, text: str) -> None:
        """Print to standard error, unless quiet."""
        if not self.quiet:
            self.say(f"note: {text}")

    def complain(self, error: BaseException) -> None:
        """Print an error as one line, after its traceback with --debug."""
        if State.debug:
            traceback.print_exception(error)
        self.say(f"error: {in_one_line(error)}")

    def say(self, line: str) -> None:
        """One line to standard error."""
        self._print(line, sys.stderr)

    def _print(self, line: str, file: TextIO) -> None:
        if self._bar.live.is_started and file.isatty():  # the bars are on the same terminal: above them
            self._console.print(Text(line), soft_wrap=True)
        else:
            print(line, file=file, flush=True)


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of plain text, whose cells stand in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
