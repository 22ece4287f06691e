"""The commands that make mixtures: corpus, rooms, simulate."""

from pathlib import Path
from typing import Annotated

import typer

from unbabble.base.extra import extra
from unbabble.cli.screen import Screen


def corpus(
    sources: Annotated[list[Path], typer.Argument(help="Folders of speech, or of noise with --noise; manifests.")],
    out: Annotated[Path, typer.Option(help="The manifest to write: .csv or .jsonl.")],
    noise: Annotated[bool, typer.Option("--noise", help="The folders hold noise, not speech.")] = False,
    layout: Annotated[str, typer.Option(help="Layout of the folders; by default each is recognised.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """List a corpus as a manifest: speakers (or noises), files, durations, splits."""
    from unbabble.base.output import prepare
    from unbabble.corpora.manifest import MANIFEST_SUFFIXES, write_manifest
    from unbabble.corpora.readers import LAYOUTS, Kind
    from unbabble.corpora.scan import scan

    kind: Kind = "noise" if noise else "speech"
    if layout not in ("auto", *LAYOUTS[kind]):
        raise typer.BadParameter(f"{layout!r} is not one of auto, {', '.join(LAYOUTS[kind])}", param_hint="--layout")
    if out.suffix.lower() not in MANIFEST_SUFFIXES:
        raise typer.BadParameter(f"{out} ends in none of {', '.join(MANIFEST_SUFFIXES)}", param_hint="--out")
    screen = Screen(quiet)
    prepare(out)
    remembered = out.with_name(f"{out.name}.scan.jsonl")
    found = scan(sources, kind, layout=layout, cache=remembered, progress=screen)
    write_manifest(found.corpus, out)
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
    recipe: Annotated[
        Path | None, typer.Option(help="YAML whose 'mixtures' the rooms are for; by default the paper's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Defines the rooms.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make a bank of rooms, from which simulate and train draw instead of computing each."""
    screen = Screen(quiet)
    with extra("rooms"):
        from unbabble.base.output import prepare
        from unbabble.mixing.bank import make_bank, room_recipe_of
        from unbabble.mixing.recipe import most_speakers, read_mixtures

        mixtures = read_mixtures(recipe)
        room = room_recipe_of(mixtures)
        prepare(out)
        sample_rate = mixtures[0].recipe.sample_rate
        bank = make_bank(room, count, most_speakers(mixtures) + 1, sample_rate, seed, jobs, screen)
        bank.save(out)
    screen.result(out)


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
    with extra("simulate"):
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
            progress=screen,
        )
    for path in results:
        screen.result(path)
