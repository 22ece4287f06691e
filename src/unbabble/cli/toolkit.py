"""The commands that make mixtures, train and judge: each calls the function of its name in ``unbabble``."""

import ctypes
import json
import platform
from pathlib import Path
from typing import Annotated

import typer

import unbabble
from unbabble.cli.screen import Cluster, Device, Screen, in_columns

RecipeAndChanges = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE [KEY=VALUE]...",
        help="YAML with every number that the run needs, and what to change in it: training.batch_size=8 ...",
    ),
]
Recipe = Annotated[Path | None, typer.Option(help="YAML whose 'mixtures' are meant; by default the paper's.")]
OtherSpeech = Annotated[
    list[Path] | None, typer.Option(help="Corpus folder or manifest, instead of the recipe's; may be repeated.")
]
OtherNoise = Annotated[list[Path] | None, typer.Option(help="Folder of noises, instead of the recipe's.")]
OtherSplits = Annotated[Path | None, typer.Option(help="Split file, instead of the recipe's.")]
MaxMinutes = Annotated[
    float | None, typer.Option(min=0.01, help="Time to train for; the learning rate is fitted to it.")
]
Resume = Annotated[Path | None, typer.Option(help="Run to go on with, from its last checkpoint.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notices.")]
Model = Annotated[str, typer.Argument(help="A bundled model's name, a model folder, or OWNER/NAME on the Hub.")]
ModelOut = Annotated[Path, typer.Option(help="The model folder to write.")]
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of glibc's mallopt, by their numbers there


def corpus(
    sources: Annotated[list[Path], typer.Argument(help="Folders of speech, or of noise with --noise; manifests.")],
    out: Annotated[Path, typer.Option(help="The manifest to write: .csv or .jsonl.")],
    noise: Annotated[bool, typer.Option("--noise", help="The folders hold noise, not speech.")] = False,
    layout: Annotated[str, typer.Option(help="Layout of the folders; by default each is recognised.")] = "auto",
    quiet: Quiet = False,
) -> None:
    """List a corpus as a manifest: speakers (or noises), files, durations, splits."""
    screen = Screen(quiet)
    found = unbabble.corpus(sources, out, noise=noise, layout=layout, progress=screen)
    screen.result(
        f"{out}: {len(found.corpus.names)} {'noises' if noise else 'speakers'}, "
        f"{len(found.corpus.recordings)} recordings, {found.corpus.hours:.1f} h"
    )
    for line in found.unreadable:
        screen.say(f"error: {line}")
    if found.unreadable:
        raise typer.Exit(1)


def rooms(
    out: Annotated[Path, typer.Option(help="The bank to write: .npz.")],
    count: Annotated[int, typer.Option(min=1, help="Number of rooms.")],
    recipe: Recipe = None,
    seed: Annotated[int, typer.Option(min=0, help="Defines the rooms.")] = 0,
    jobs: Jobs = 1,
    quiet: Quiet = False,
) -> None:
    """Make a bank of rooms, from which simulate and train draw instead of computing each."""
    screen = Screen(quiet)
    screen.result(unbabble.rooms(out, count, recipe=recipe, seed=seed, jobs=jobs, progress=screen))


def simulate(
    speech: Annotated[list[Path], typer.Option(help="Corpus folder or manifest; may be repeated.")],
    out: Annotated[str, typer.Option(help="Folder for the mixtures; made where missing.")],
    count: Annotated[int, typer.Option(min=0, help="Number of mixtures to draw.")] = 0,
    listed: Annotated[Path | None, typer.Option("--list", help="Render the mixtures of this list instead.")] = None,
    noise: Annotated[list[Path] | None, typer.Option(help="Folder or manifest of noises; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Defines the mixtures.")] = 0,
    jobs: Jobs = 1,
    recipe: Recipe = None,
    rooms: Annotated[Path | None, typer.Option(help="Bank of rooms to draw from (unbabble rooms).")] = None,
    splits: Annotated[Path | None, typer.Option(help="JSON {split: {corpus: [name, ...]}}.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Use this split's speakers and noises only; with --splits: train.")
    ] = None,
    audio_format: Annotated[str, typer.Option("--format", help="flac or wav (24 bits).")] = "flac",
    dry: Annotated[bool, typer.Option("--dry", help="Write the signals before the room as well.")] = False,
    preview: Annotated[int, typer.Option(min=0, help="Mixtures to show in OUT/preview.html.")] = 0,
    cluster: Cluster = None,
    quiet: Quiet = False,
) -> None:
    """Simulate mixtures with their separate truths, by the paper's recipe, another, or a published list.

    Started again with the same settings, it goes on where it was stopped.
    """
    if not (count or listed or preview):
        raise typer.BadParameter("give --count, --list or --preview")
    if listed and (count or recipe or rooms):
        raise typer.BadParameter("a --list states its mixtures and rooms; leave --count, --recipe and --rooms out")
    screen = Screen(quiet)
    written = unbabble.simulate(
        speech,
        out,
        count,
        listed=listed,
        noise=noise or (),
        recipe=recipe,
        seed=seed,
        rooms=rooms,
        splits=splits,
        split=split or ("train" if splits else None),
        audio_format=audio_format,
        dry=dry,
        preview=preview,
        jobs=jobs,
        cluster=cluster,
        progress=screen,
    )
    for path in written:
        screen.result(path)


def train(
    arguments: RecipeAndChanges = None,
    out: Annotated[Path, typer.Option(help="Folder for the run: checkpoints, logs, model.")] = Path("runs/run"),
    speech: OtherSpeech = None,
    noise: OtherNoise = None,
    splits: OtherSplits = None,
    start: Annotated[str | None, typer.Option(help="Model to start from: a bundled one's name, or a folder.")] = None,
    max_minutes: MaxMinutes = None,
    resume: Resume = None,
    kind: Annotated[str, typer.Option(hidden=True)] = "separation",
) -> None:
    """Train a separator, or a diarizer, by a recipe; ends with a model folder."""
    changes = list(arguments or ())
    recipe = changes.pop(0) if changes and resume is None else None
    if recipe is None and resume is None:
        raise typer.BadParameter("give a recipe, or --resume with the folder of a run")
    flags = {"training.max_minutes": max_minutes, "training.start": start}
    keep_freed_memory()
    model = unbabble.train(
        recipe,
        resume or out,
        speech=speech,
        noise=noise,
        splits=splits,
        changes=[*changes, *(f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None)],
        resume=resume is not None,
        kind=kind,
        progress=Screen(),
    )
    if model is not None:  # only one of several processes has it
        print(model)


def evaluate(
    model: Model,
    dataset: Annotated[Path, typer.Argument(help="Folder of a set of mixtures with their truths.")],
    out: Annotated[Path, typer.Option(help="Folder for scores and report; made where missing.")],
    jobs: Jobs = 1,
    bins: Annotated[str, typer.Option(help="Edges of the bins of the overlap ratio, 0 to 1.")] = "0.25,0.5,0.75",
    metrics: Annotated[
        str | None, typer.Option(help="Of si_sdr,sdr,stoi,estoi,pesq; by default all that are installed.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many mixtures, the first.")] = None,
    speakers: Annotated[int | None, typer.Option(min=0, help="Only mixtures of so many speakers.")] = None,
    mixture: Annotated[str | None, typer.Option(help="Folder of mixtures in the set, such as mix_clean.")] = None,
    network_only: Annotated[
        bool, typer.Option("--network-only", help="Score the network alone, without windows and diarizer.")
    ] = False,
    device: Device = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table, no progress and no notices.")] = False,
) -> None:
    """Score a model on a set of mixtures: tables, JSON, and a page with plots and the worst to listen to.

    Mixtures whose files cannot be read are named and left out; the exit code is then 1.
    Started again with the same settings, it goes on where it was stopped.
    """
    from unbabble.evaluation.bins import read_edges

    screen = Screen(quiet)
    found = unbabble.evaluate(
        model,
        dataset,
        out,
        mixture=mixture,
        metrics=None if metrics is None else metrics.split(","),
        bins=read_edges(bins).edges,
        speakers=speakers,
        limit=limit,
        network_only=network_only,
        jobs=jobs,
        device=device,
        progress=screen,
    )
    from unbabble.evaluation.report import JSON, MARKDOWN, PAGE

    _show([out / name for name in (MARKDOWN, JSON, PAGE)], screen)
    for reason in found.unreadable:
        screen.say(f"error: {reason}; left out")
    if found.unreadable:
        raise typer.Exit(1)


def compare(
    comparison: Annotated[Path, typer.Argument(help="YAML of designs and what they have in common.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs, the test set and the table.")],
    speech: OtherSpeech = None,
    noise: OtherNoise = None,
    splits: OtherSplits = None,
    only: Annotated[list[str] | None, typer.Option(help="Train this design only; may be repeated.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing: join what is there.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes for the test set and the scores.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Train several designs under one budget, score them, and write the table beside the paper's.

    Started again with the same settings, it goes on where it was stopped.
    """
    screen = Screen(quiet)
    keep_freed_memory()
    written = unbabble.compare(
        comparison,
        out,
        speech=speech,
        noise=noise,
        splits=splits,
        only=only or (),
        table=table,
        jobs=jobs,
        progress=screen,
    )
    _show(written, screen)


def export(run: Annotated[Path, typer.Argument(help="Folder of a training run.")], out: ModelOut) -> None:
    """Make a model folder from the best checkpoint of a run."""
    print(unbabble.export(run, out))


def quantize(model: Model, out: ModelOut) -> None:
    """Make a smaller, faster copy of a model, whose LSTMs count in 8 bits."""
    print(unbabble.quantize(model, out))


def models(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders to look for models in, at any depth, such as runs.")
    ] = None,
) -> None:
    """List the models there are: bundled, from the Hub in the cache, and in folders."""
    from unbabble.sharing.listing import scores_of

    rows = [("model", "what", "version", "where", "size", "SI-SDRi", "license")]
    for one in unbabble.models(folders or ()):
        score = next(scores_of(one.card), None)
        gain = f"{score.mean:.1f} dB ({score.part}, {score.row})" if score else ""
        version, size = str(one.card.get("version", "")), f"{one.size / 1e6:.1f} MB"
        rows.append((one.use, one.kind, version, one.where, size, gain, one.license))
    for line in in_columns(rows):
        print(line)


def push(
    run: Annotated[Path, typer.Argument(help="A training run, or a model folder.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hub; made where missing.")],
    private: Annotated[bool, typer.Option("--private", help="For nobody but the owner, where it is made.")] = False,
    message: Annotated[str | None, typer.Option(help="Of the commit; by default name and version.")] = None,
) -> None:
    """Put a model onto the Hugging Face Hub, with a page made from its card: all of it in one commit."""
    print(unbabble.push(run, name, private=private, message=message))


def _show(written: list[Path], screen: Screen) -> None:
    """The content of the first file, and the names of all."""
    screen.result(written[0].read_text(encoding="utf-8"))
    for path in written:
        screen.result(path)


def keep_freed_memory() -> None:
    """Let this process keep what it frees for what it needs next.

    Else glibc hands the large blocks of every training step back to the system and asks for them again in the next,
    page by page. Costs memory: what was needed once is held. Where the C library is another, nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(TRIM_THRESHOLD, -1)
        library.mallopt(MMAP_MAX, 0)
