"""The command line: turns flags into keywords and calls one function below for each command."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from unbabble import __version__
from unbabble.errors import MissingExtra, UnbabbleError

app = typer.Typer(
    help="A recording of people talking over each other in, one track per talker out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
TRAIN_MODULES = {"torch", "lightning", "torchmetrics", "pyroomacoustics", "scipy", "pydantic", "yaml", "onnx"}


class State:
    """What the flags before the command set."""

    debug = False


def main() -> None:
    """Entry point of the ``unbabble`` program."""
    try:
        app()
    except UnbabbleError as error:
        if State.debug:
            traceback.print_exc()
        _complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(130)


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    State.debug = debug
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def separate(
    inputs: Annotated[list[Path], typer.Argument(help="Audio files, or folders that are walked.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; made where missing.")],
    model: Annotated[str, typer.Option(help="A bundled model's name, or a model folder.")] = "default",
    audio_format: Annotated[str, typer.Option("--format", help="wav (32-bit float) or flac (24 bits).")] = "wav",
    speakers: Annotated[int | None, typer.Option(help="Tracks to give, where the model can give any number.")] = None,
    window_s: Annotated[float | None, typer.Option(help="Seconds separated at once.")] = None,
    overlap_s: Annotated[float | None, typer.Option(help="Seconds that windows share.")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notices.")] = False,
) -> None:
    """Separate recordings: one track per talker, at the rate and length of the input."""
    from unbabble.recordings import FORMATS, find_jobs, run_job
    from unbabble.separator import Separator

    if audio_format not in FORMATS:
        raise typer.BadParameter(f"{audio_format!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
    try:
        separator = Separator(model, window_s=window_s, overlap_s=overlap_s, threads=threads)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    failed = 0
    with _progress(quiet) as add_task:
        for job in find_jobs(inputs, out):
            outcome = run_job(job, separator, audio_format, speakers, add_task(job.source.name))
            if outcome.error is not None:
                failed += 1
                if State.debug:
                    traceback.print_exception(outcome.error)
                _complain(str(outcome.error))
            elif not quiet:
                for notice in outcome.notices:
                    print(f"note: {notice}", file=sys.stderr)
                print(job.folder)
    if failed:
        raise typer.Exit(1)


@app.command()
def simulate(
    speech: Annotated[list[Path], typer.Option(help="Folder of <speaker>/<files>; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for the mixtures; made where missing.")],
    count: Annotated[int, typer.Option(min=1, help="Number of mixtures.")],
    noise: Annotated[list[Path] | None, typer.Option(help="Folder of noises; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Defines the mixtures.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")] = 1,
    recipe: Annotated[
        Path | None, typer.Option(help="YAML whose 'mixtures' are drawn from; by default the paper's.")
    ] = None,
    splits: Annotated[Path | None, typer.Option(help="JSON {split: {corpus: [name, ...]}}.")] = None,
    split: Annotated[str, typer.Option(help="The split whose speakers and noises are used.")] = "train",
    dry: Annotated[bool, typer.Option("--dry", help="Write the signals before the room as well.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Simulate mixtures with their separate truths, by the paper's recipe or another."""
    with _extra("simulate"):
        from unbabble.mixing.corpus import read_split
        from unbabble.mixing.dataset import simulate as simulate_set
        from unbabble.mixing.recipe import paper_mixtures
        from unbabble.training.config import read_recipe

    mixtures = read_recipe(recipe).mixtures if recipe else paper_mixtures()
    with _progress(quiet) as add_task:
        simulate_set(
            speech,
            noise or [],
            out,
            count,
            mixtures,
            seed=seed,
            jobs=jobs,
            dry=dry,
            names=(read_split(splits, split) if splits else None),
            progress=add_task("mixtures"),
        )


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML with every number that the run needs.")],
    out: Annotated[Path, typer.Option(help="Folder for the run: checkpoints, logs, model.")] = Path("runs/run"),
    speech: Annotated[
        list[Path] | None, typer.Option(help="Folder of <speaker>/<files>, instead of the recipe's.")
    ] = None,
    noise: Annotated[list[Path] | None, typer.Option(help="Folder of noises, instead of the recipe's.")] = None,
    splits: Annotated[Path | None, typer.Option(help="Split file, instead of the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
) -> None:
    """Train a network by a recipe; ends with a model folder."""
    with _extra("train"):
        from unbabble.training.config import read_recipe, with_data
        from unbabble.training.fit import train as train_by

    whole = with_data(read_recipe(recipe), speech, noise, splits)
    print(train_by(whole, out, resume=resume))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
) -> None:
    """Make a model folder from the best checkpoint of a run."""
    with _extra("export"):
        from unbabble.training.fit import export_run

    print(export_run(run, out))


@contextmanager
def _extra(command: str) -> Iterator[None]:
    """Name the installation that a command needs, where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in TRAIN_MODULES:
            raise MissingExtra(f"unbabble {command}", "train") from error
        raise


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], Callable[[float, float | None], None]]]:
    """A progress bar on standard error; gives a function that adds a task and returns what moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:

        def add_task(name: str) -> Callable[[float, float | None], None]:
            task = bar.add_task(name, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield add_task


def _complain(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
