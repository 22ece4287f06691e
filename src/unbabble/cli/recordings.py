"""The command that separates recordings."""

from pathlib import Path
from typing import Annotated

import typer

from unbabble.cli.screen import Screen


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
