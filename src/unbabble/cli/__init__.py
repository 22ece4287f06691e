"""The command line: turns flags into keywords and calls one function below for each command."""

import sys
from typing import Annotated

import typer

from unbabble import __version__
from unbabble.cli.evaluation import evaluate
from unbabble.cli.mixtures import corpus, rooms, simulate
from unbabble.cli.recordings import separate
from unbabble.cli.screen import Screen, State
from unbabble.cli.training import compare, export, quantize, train, train_listener
from unbabble.errors import UnbabbleError

app = typer.Typer(
    help="A recording of people talking over each other in, one track per talker out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the ``unbabble`` program."""
    for stream in (sys.stdout, sys.stderr):  # file names may hold what a terminal's encoding cannot
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    screen = Screen()
    try:
        app()
    except UnbabbleError as error:
        screen.complain(error)
        sys.exit(1)


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    State.debug = debug
    if version:
        print(__version__)
        raise typer.Exit


for command in (separate, corpus, rooms, simulate, train, train_listener, evaluate, compare, export, quantize):
    app.command()(command)
