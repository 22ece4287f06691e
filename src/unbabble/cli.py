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


class State:
    """What the flags before the command set."""

    debug = False


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
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
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
    separator.model.n_tracks(speakers)
    screen, failed = Screen(quiet), False
    for job in find_jobs(inputs, out):
        with screen.progress(job.source.name) as progress:
            outcome = run_job(job, separator, audio_format, speakers, progress)
        if outcome.error is not None:
            failed = True
            screen.complain(outcome.error)
            continue
        for text in outcome.notices:
            screen.notice(text)
        screen.result(job.folder)
    if failed:
        raise typer.Exit(1)


@app.command()
def corpus(
    sources: Annotated[list[Path], typer.Argument(help="Folders of speech, or of noise with --noise; manifests.")],
    out: Annotated[Path, typer.Option(help="The manifest to write: .csv or .jsonl.")],
    noise: Annotated[bool, typer.Option("--noise", help="The folders hold noise, not speech.")] = False,
    layout: Annotated[str, typer.Option(help="Layout of the folders; by default each is recognised.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """List a corpus as a manifest: speakers (or noises), files, durations, splits."""
    from unbabble.corpora.manifest import MANIFEST_SUFFIXES, write_manifest
    from unbabble.corpora.readers import NOISE_LAYOUTS, SPEECH_LAYOUTS
    from unbabble.corpora.scan import scan_noise, scan_speech
    from unbabble.output import prepare

    layouts = NOISE_LAYOUTS if noise else SPEECH_LAYOUTS
    if layout not in ("auto", *layouts):
        raise typer.BadParameter(f"{layout!r} is not one of auto, {', '.join(layouts)}", param_hint="--layout")
    if out.suffix.lower() not in MANIFEST_SUFFIXES:
        raise typer.BadParameter(f"{out} ends in none of {', '.join(MANIFEST_SUFFIXES)}", param_hint="--out")
    screen = Screen(quiet)
    prepare(out)
    remembered = out.with_name(f"{out.name}.scan.jsonl")
    with screen.progress("scanning") as progress:
        scan = (scan_noise if noise else scan_speech)(sources, layout=layout, cache=remembered, progress=progress)
    write_manifest(scan.corpus, out)
    screen.result(
        f"{out}: {len(scan.corpus.names)} {'noises' if noise else 'speakers'}, "
        f"{len(scan.corpus.recordings)} recordings, {scan.corpus.hours:.1f} h"
    )
    for line in scan.unreadable:
        screen.say(f"error: {line}")
    if scan.unreadable:
        raise typer.Exit(1)


@app.command()
def rooms(
    out: Annotated[Path, typer.Option(help="The bank to write: .npz.")],
    count: Annotated[int, typer.Option(min=1, help="Number of rooms.")],
    recipe: Annotated[
        Path | None, typer.Option(help="YAML whose 'mixtures' the rooms are for; by default the paper's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Defines the rooms.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make a bank of rooms, from which simulate and train draw instead of computing each."""
    screen = Screen(quiet)
    with _extra("rooms"), screen.progress("rooms") as progress:
        from unbabble.mixing.bank import make_bank, room_recipe_of
        from unbabble.mixing.recipe import most_speakers, read_mixtures
        from unbabble.output import prepare

        mixtures = read_mixtures(recipe)
        room = room_recipe_of(mixtures)
        prepare(out)
        sample_rate = mixtures[0].recipe.sample_rate
        bank = make_bank(room, count, most_speakers(mixtures) + 1, sample_rate, seed, jobs, progress)
        bank.save(out)
    screen.result(out)


@app.command()
def simulate(
    speech: Annotated[list[Path], typer.Option(help="Corpus folder or manifest; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for the mixtures; made where missing.")],
    count: Annotated[int, typer.Option(min=0, help="Number of mixtures to draw.")] = 0,
    listed: Annotated[Path | None, typer.Option("--list", help="Render the mixtures of this list instead.")] = None,
    noise: Annotated[list[Path] | None, typer.Option(help="Folder or manifest of noises; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Defines the mixtures.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")] = 1,
    recipe: Annotated[
        Path | None, typer.Option(help="YAML whose 'mixtures' are drawn from; by default the paper's.")
    ] = None,
    rooms: Annotated[Path | None, typer.Option(help="Bank of rooms to draw from (unbabble rooms).")] = None,
    splits: Annotated[Path | None, typer.Option(help="JSON {split: {corpus: [name, ...]}}.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Use this split's speakers and noises only; with --splits: train.")
    ] = None,
    audio_format: Annotated[str, typer.Option("--format", help="flac or wav (24 bits).")] = "flac",
    dry: Annotated[bool, typer.Option("--dry", help="Write the signals before the room as well.")] = False,
    preview: Annotated[int, typer.Option(min=0, help="Mixtures to show in OUT/preview.html.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notices.")] = False,
) -> None:
    """Simulate mixtures with their separate truths, by the paper's recipe, another, or a published list.

    Started again with the same settings, it goes on where it was stopped.
    """
    if not (count or listed or preview):
        raise typer.BadParameter("give --count, --list or --preview")
    if listed and (count or recipe or rooms):
        raise typer.BadParameter("a --list states its mixtures and rooms; leave --count, --recipe and --rooms out")
    screen = Screen(quiet)
    with _extra("simulate"):
        from unbabble.mixing.recipe import read_mixtures
        from unbabble.sets.simulate import simulate as simulate_set
        from unbabble.sets.write import FORMATS

        if audio_format not in FORMATS:
            raise typer.BadParameter(f"{audio_format!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
        results = simulate_set(
            speech,
            noise or [],
            out,
            mixtures=read_mixtures(recipe),
            count=count,
            listed=listed,
            seed=seed,
            jobs=jobs,
            bank=rooms,
            splits=splits,
            split=split or ("train" if splits else None),
            audio_format=audio_format,
            dry=dry,
            preview=preview,
            stage=screen.progress,
            notice=screen.notice,
        )
    for path in results:
        screen.result(path)


OtherSpeech = Annotated[
    list[Path] | None, typer.Option(help="Corpus folder or manifest, instead of the recipe's; may be repeated.")
]
OtherNoise = Annotated[list[Path] | None, typer.Option(help="Folder of noises, instead of the recipe's.")]
OtherSplits = Annotated[Path | None, typer.Option(help="Split file, instead of the recipe's.")]


@app.command()
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE [KEY=VALUE]...",
            help="YAML with every number that the run needs, and what to change in it: training.batch_size=8 ...",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run: checkpoints, logs, model.")] = Path("runs/run"),
    speech: OtherSpeech = None,
    noise: OtherNoise = None,
    splits: OtherSplits = None,
    start: Annotated[str | None, typer.Option(help="Model to start from: a bundled one's name, or a folder.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Time to train for; the learning rate is fitted to it.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Run to go on with, from its last checkpoint.")] = None,
) -> None:
    """Train a network by a recipe; ends with a model folder."""
    changes = list(arguments or [])
    if resume is None and not changes:
        raise typer.BadParameter("give a recipe, or --resume with the folder of a run")
    with _extra("train"):
        from unbabble.training.config import read_recipe, with_changes, with_data
        from unbabble.training.fit import read_run_recipe
        from unbabble.training.fit import train as train_by

        chosen = read_recipe(Path(changes.pop(0))) if resume is None else read_run_recipe(resume)
        if max_minutes is not None:
            changes.append(f"training.max_minutes={max_minutes}")
        if start is not None:
            changes.append(f"training.start={start}")
        chosen = with_changes(with_data(chosen, speech, noise, splits), changes)
        model = train_by(chosen, resume or out, resume is not None, Screen().progress)
    if model is not None:  # only one of several processes has it
        print(model)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a model folder.")],
    dataset: Annotated[Path, typer.Argument(help="Folder of a set of mixtures with their truths.")],
    out: Annotated[Path, typer.Option(help="Folder for scores and report; made where missing.")],
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")] = 1,
    bins: Annotated[str, typer.Option(help="Edges of the bins of the overlap ratio, 0 to 1.")] = "0.25,0.5,0.75",
    metrics: Annotated[
        str | None, typer.Option(help="Of si_sdr,sdr,stoi,estoi,pesq; by default all that are installed.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many mixtures, the first.")] = None,
    speakers: Annotated[int | None, typer.Option(min=0, help="Only mixtures of so many speakers.")] = None,
    mixture: Annotated[str | None, typer.Option(help="Folder of mixtures in the set, such as mix_clean.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table, no progress and no notices.")] = False,
) -> None:
    """Score a model on a set of mixtures: tables, JSON, and a page with plots and the worst to listen to.

    Started again with the same settings, it goes on where it was stopped.
    """
    screen = Screen(quiet)
    with _extra("evaluate"):
        from unbabble.evaluation.bins import read_edges
        from unbabble.evaluation.evaluate import evaluate as evaluate_on
        from unbabble.evaluation.metrics import METRICS, installed, read_names
        from unbabble.evaluation.report import write_report
        from unbabble.evaluation.text import markdown
        from unbabble.sets.read import read_set

        try:
            edges, asked = read_edges(bins), None if metrics is None else read_names(metrics)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        chosen = installed(asked)
        if asked is None and len(chosen) < len(METRICS):
            missing = ", ".join(metric.label for name, metric in METRICS.items() if name not in chosen)
            screen.notice(f'left out: {missing}; for them pip install "unbabble[metrics]"')
        found = evaluate_on(
            model,
            read_set(dataset, mixture=mixture),
            out,
            name=dataset.absolute().name,
            metrics=chosen,
            bins=edges,
            speakers=speakers,
            limit=limit,
            jobs=jobs,
            stage=screen.progress,
        )
        written = write_report(found, out)
    screen.result(markdown(found))
    for path in written:
        screen.result(path)


@app.command()
def compare(
    comparison: Annotated[Path, typer.Argument(help="YAML of designs and what they have in common.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs, the test set and the table.")],
    speech: OtherSpeech = None,
    noise: OtherNoise = None,
    splits: OtherSplits = None,
    only: Annotated[list[str] | None, typer.Option(help="Train this design only; may be repeated.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing: join what is there.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes for the test set and the scores.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train several designs under one budget, score them, and write the table beside the paper's.

    Started again with the same settings, it goes on where it was stopped.
    """
    screen = Screen(quiet)
    with _extra("compare"):
        from unbabble.training.compare import compare as compare_all
        from unbabble.training.compare import read_comparison, tabulate

        chosen = read_comparison(comparison)
        if table:
            written = tabulate(chosen, out)
        else:
            written = compare_all(
                chosen,
                out,
                speech=speech,
                noise=noise,
                splits=splits,
                only=only or (),
                jobs=jobs,
                stage=screen.progress,
            )
    screen.result(written[0].read_text(encoding="utf-8"))
    for path in written:
        screen.result(path)


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
    """Name the installation that a command needs, where a package of it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"unbabble {command} ({error.name})", "train") from error
