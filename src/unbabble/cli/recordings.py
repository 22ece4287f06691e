"""The command that separates recordings."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbabble.cli.screen import Cluster, Device, Screen
from unbabble.errors import UnbabbleError, in_one_line

if TYPE_CHECKING:  # they take a third of a second to load, which --help need not wait for
    from unbabble.files import Job, Options, Outcome

INTERRUPTED = 130  # as shells report it


def separate(
    inputs: Annotated[
        list[str], typer.Argument(help="Audio or video files, folders that are walked, or - for standard input.")
    ],
    out: Annotated[str | None, typer.Option(help="Folder for the results; made where missing.")] = None,
    model: Annotated[
        str, typer.Option(help="A bundled model's name, a model folder, or OWNER/NAME on the Hub.")
    ] = "default",
    speakers: Annotated[
        str, typer.Option(metavar="auto|N|A-B", help="How many people talk, each of whom gets a track: 1 to 10.")
    ] = "auto",
    channel: Annotated[
        str, typer.Option(metavar="mix|N|each", help="Average all channels, take one, or separate each by itself.")
    ] = "mix",
    audio_format: Annotated[str, typer.Option("--format", help="wav or flac.")] = "wav",
    bits: Annotated[int | None, typer.Option(help="16, 24 or 32 (float) for wav, 24 for flac.")] = None,
    filename: Annotated[
        str, typer.Option(help="Names of tracks in the folder; fields: track, speaker, ext, channel.")
    ] = "{track}/{speaker}.{ext}",
    activity: Annotated[
        str, typer.Option(metavar="FORMAT,...", help="Write who speaks when: rttm, labels, textgrid, csv.")
    ] = "",
    names: Annotated[str, typer.Option(metavar="NAME,...", help="Names of the people, in order of appearance.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace results that are there.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Write the tracks as one wav to standard output.")] = False,
    raw: Annotated[
        str | None, typer.Option(help="Standard input is samples without a header: s16le, s24le, s32le, f32le.")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Sample rate of --raw in Hz.")] = None,
    channels: Annotated[int, typer.Option(min=1, max=1024, help="Channels of --raw.")] = 1,
    max_hours: Annotated[
        float | None, typer.Option(help="How long a recording may be; by default, what its size makes likely.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Recordings separated at the same time.")] = 1,
    window_s: Annotated[float | None, typer.Option(help="Seconds separated at once.")] = None,
    overlap_s: Annotated[float | None, typer.Option(help="Seconds that windows share.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads, of all jobs together.")] = None,
    diarizer: Annotated[
        str, typer.Option(help="Network that finds who talks when: a bundled one's name, or a folder.")
    ] = "diarizer",
    device: Device = "auto",
    listener: Annotated[str | None, typer.Option(hidden=True)] = None,  # the old name of --diarizer
    cluster: Cluster = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table and no notices.")] = False,
) -> None:
    """Separate recordings: one track per talker, at the rate and length of the input.

    Started again, it leaves what is done and goes on where it was stopped.
    """
    from unbabble.audio import RawFormat
    from unbabble.files import Options

    _check_usage(inputs, out, stdout, activity, raw, rate, cluster)
    options = Options(
        model=model,
        speakers=speakers,
        channel=_number_or_word(channel),
        audio_format=audio_format,
        bits=bits,
        filename=filename,
        activity=activity,
        names=names,
        force=force,
        window_s=window_s,
        overlap_s=overlap_s,
        max_hours=max_hours,
        jobs=jobs,
        threads=threads,
        diarizer=diarizer if listener is None else listener,
        device=device,
        raw=None if raw is None or rate is None else RawFormat(rate, channels, raw),
    )
    screen = Screen(quiet)
    if out is None:
        _into_pipe(inputs, options, screen)
    else:
        _into_files(inputs, out, options, cluster, screen)


def _check_usage(
    inputs: Sequence[str],
    out: str | None,
    stdout: bool,
    activity: str,
    raw: str | None,
    rate: int | None,
    cluster: str | None,
) -> None:
    """Refuse flags that do not go together."""
    piped = "-" in inputs
    complaints = {
        "give --out with a folder for the results, or --stdout": (out is None) != stdout,
        "--activity writes files: give --out instead of --stdout": stdout and bool(activity),
        "standard input (-) stands alone": piped and len(inputs) > 1,
        "standard input is a terminal; lead a recording into it": piped and sys.stdin.isatty(),
        "standard output is a terminal; lead it into a file or a program": stdout and sys.stdout.isatty(),
        "--raw is for standard input (-) and needs --rate": raw is not None and not (piped and rate),
        "--rate is for --raw": rate is not None and raw is None,
        "--cluster separates files: give --out, and no standard input": cluster is not None and (stdout or piped),
        "URLs are read and written by a --cluster; --cluster local starts one here": cluster is None
        and any("://" in one for one in (*inputs, out or "")),
    }
    for text, applies in complaints.items():
        if applies:
            raise typer.BadParameter(text)


def _number_or_word(text: str) -> Any:
    return int(text) if text.isdecimal() else text


def _into_pipe(inputs: Sequence[str], options: "Options", screen: Screen) -> None:
    from unbabble.files import separate_into_pipe

    try:
        separate_into_pipe(inputs, sys.stdout.buffer, options, screen)
    except KeyboardInterrupt:
        screen.say("interrupted: what has been written ends in the middle of the recording")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _found(
    inputs: Sequence[str], out: str, options: "Options", cluster: str | None, screen: Screen
) -> "Iterator[tuple[Sequence[Job], Iterator[Outcome]]]":
    """The recordings, and what becomes of them."""
    from unbabble.files import find_jobs, run_jobs

    if cluster is None:
        jobs = find_jobs(inputs, Path(out), options)
        with closing(run_jobs(jobs, options, screen)) as outcomes:  # whoever is interrupted waits for no others
            yield jobs, outcomes
    else:
        from unbabble.cluster import Spread, separate_on

        with separate_on(cluster, inputs, out, options, Spread(), screen) as found:
            yield found


def _into_files(inputs: Sequence[str], out: str, options: "Options", cluster: str | None, screen: Screen) -> None:
    jobs: Sequence[Job] = ()
    outcomes: list[Outcome] = []
    ended: BaseException | None = None
    try:
        with _found(inputs, out, options, cluster, screen) as (jobs, found):
            for outcome in found:
                outcomes.append(outcome)
                _show(outcome, screen, alone=len(jobs) == 1)
    except (KeyboardInterrupt, UnbabbleError) as error:
        ended = error
    if len(jobs) > 1 and outcomes:
        screen.table(("file", "length", "talkers", "time", ""), [_row(outcome) for outcome in outcomes])
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    for failure in failures:
        screen.complain(failure)
    if isinstance(ended, UnbabbleError):
        raise ended
    if ended is not None:
        done = len(outcomes) - len(failures)
        screen.say(f"interrupted: {done} of {len(jobs)} recordings are done; the same command goes on where it was")
        raise typer.Exit(INTERRUPTED)
    if failures:
        raise typer.Exit(1)


def _show(outcome: "Outcome", screen: Screen, alone: bool) -> None:
    """The tracks of a recording, and what a user should know of it; a table tells of several together."""
    for text in outcome.notices:
        screen.notice(text)
    if outcome.summary is not None and alone:
        if outcome.earlier:
            screen.notice(f"{outcome.job.name}: was done before and is left as it is; --force makes it again")
        heard = outcome.summary["talkers_heard"]
        screen.notice(f"{outcome.job.name}: {heard} talker{'' if heard == 1 else 's'} heard")
    for path in outcome.tracks:
        screen.result(outcome.job.place.shown(path))


def _row(outcome: "Outcome") -> tuple[str, ...]:
    """A line of the table: file, length, talkers heard, time taken, what else there is to say."""
    if outcome.summary is None:
        message = in_one_line(outcome.error)
        reason = message.removeprefix(f"{outcome.job.name}: ").partition("; ")[0]
        return outcome.job.name, "", "", "", f"failed: {reason}"
    summary = outcome.summary
    length, taken = _clock(summary["duration_s"]), _clock(summary["seconds_taken"])
    return outcome.job.name, length, str(summary["talkers_heard"]), taken, "done before" if outcome.earlier else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
