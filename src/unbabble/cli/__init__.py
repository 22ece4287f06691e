"""The command line: turns flags into keywords and calls one function below for each command."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from unbabble import __version__
from unbabble.cli.recordings import separate
from unbabble.cli.screen import Screen, State
from unbabble.cli.serve import serve
from unbabble.cli.toolkit import compare, corpus, evaluate, export, models, push, quantize, rooms, simulate, train
from unbabble.errors import ArgumentError, UnbabbleError

app = typer.Typer(
    help="A recording of people talking over each other in, one track per talker out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the ``unbabble`` program."""
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):  # file names may hold what a terminal's encoding cannot
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    screen = Screen()
    try:
        app()
    except (UnbabbleError, OSError) as error:
        screen.complain(_named(error) if isinstance(error, OSError) else error)
        sys.exit(1)


def _named(error: OSError) -> UnbabbleError:
    """A name that the system refuses, wherever it is first used. Raises the error where it is of no name."""
    if error.filename is None:
        raise error
    told = UnbabbleError(f"{error.filename}: cannot be used: {error.strerror}; check the name and the permissions")
    return told.with_traceback(error.__traceback__)


def _open_missing_streams() -> None:
    """Services may start programs with standard streams closed; writing there goes nowhere, reading finds nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    State.debug = debug


def _as_usage(command: Callable[..., None]) -> Callable[..., None]:
    """A command that tells arguments which cannot be as wrong usage."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except ArgumentError as error:
            raise typer.BadParameter(str(error)) from None

    return run


for command in (separate, serve, corpus, rooms, simulate, train, evaluate, compare, export, quantize, models, push):
    app.command()(_as_usage(command))
OLD = {"default_map": {"kind": "diarization"}}  # what recipes were of that did not say it yet
app.command("train-listener", hidden=True, context_settings=OLD)(_as_usage(train))
