"""Mixtures and their truths as files, with a manifest; what is there already is not made again."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from unbabble.base.config import dump_settings, parse_settings
from unbabble.base.output import ORIGIN, Origin, claim, whole_folder, write_whole, writing
from unbabble.base.parallel import in_parallel
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.base.reading import from_json
from unbabble.corpora.corpus import Corpus
from unbabble.errors import AudioError, CorpusError, OutputError, in_one_line
from unbabble.mixing.plan import Plan
from unbabble.mixing.recipe import WeightedRecipe
from unbabble.mixing.render import Mixture, Renderer
from unbabble.mixing.signals import Samples
from unbabble.sets.read import MANIFEST

FORMATS = ("flac", "wav")
TABLE, FACTS = "manifest.csv", "facts.json"
SCAN, PREVIEW = "scan", "preview.html"  # what else can lie in a set
BYTES_A_SAMPLE = 3
MEASURED_PLANS = 10  # from whose length the size of a set is estimated
COLUMNS = (
    *("id", "sample_rate", "n_samples", "speakers", "genders", "recordings", "overlap_ratio", "levels_db", "speeds"),
    *("noise", "noise_snr_db", "room_size_m", "t60_s", "microphone_m", "sources_m", "target"),
)


@dataclass(frozen=True)
class Plans:
    """Mixtures by number: names[i] is the folder of what ``plan_of(i)`` plans. origin: what defines them all."""

    names: Sequence[str]
    plan_of: Callable[[int], Plan]
    origin: dict[str, Any]

    def first(self, count: int) -> "Plans":
        """So many of them, as far as there are any."""
        return Plans(self.names[:count], self.plan_of, self.origin)


@dataclass(frozen=True)
class SetWriter:
    """Renders one plan and writes its folder, unless it is there.

    Returns a line for each recording that could not be read so far in this process: those are not drawn, and a plan
    of a list that needs one is left out.
    """

    plans: Plans
    render: Renderer
    out: Path
    suffix: str
    dry: bool

    def __call__(self, index: int) -> tuple[str, ...]:
        name = self.plans.names[index]
        if not (self.out / name).is_dir():
            with suppress(AudioError):
                self._write(name, self.plans.plan_of(index))
        return tuple(in_one_line(error) for error in self.render.audio.unreadable.values())

    def _write(self, name: str, plan: Plan) -> None:
        signals = _signals(self.render(plan), self.dry)
        files = {kind: f"{name}/{kind}.{self.suffix}" for kind in signals}
        with whole_folder(self.out / name) as folder:
            for kind, samples in signals.items():
                with writing(self.out / files[kind]):
                    target = folder / Path(files[kind]).name
                    soundfile.write(target, samples, plan.sample_rate, subtype="PCM_24")
            facts = json.dumps(facts_of(name, plan, files, self.render.speech)) + "\n"
            with writing(self.out / name / FACTS):
                (folder / FACTS).write_text(facts, encoding="utf-8")


Making = Callable[[SetWriter, Iterable[int], int], Iterator[tuple[str, ...]]]
"""What a writer gives for each of some numbers, in their order; the last is how many processes are wanted."""


def write_set(
    plans: Plans,
    render: Renderer,
    out: Path,
    audio_format: str = "flac",
    dry: bool = False,
    jobs: int = 1,
    progress: Progress = UNWATCHED,
    make: Making | None = None,
) -> Path:
    """Write mixtures and their truths, one folder each, and a manifest of them.

    Each ``out/<name>/`` gets ``mixture``, ``source1``, ``source2`` ..., ``noise`` and its facts, whole or not at all.
    Names that are there already stay as they are, so that a stopped run can go on.

    Parameters
    ----------
    plans
        What is in each mixture, by its name.
    render
        Makes the signals of a plan.
    out
        Folder for the mixtures; one of another origin is refused.
    audio_format
        ``flac`` or ``wav``, of 24 bits.
    dry
        Write the signals before the room as well.
    jobs
        Processes; the mixtures are the same for any number.
    progress
        Told what goes on, and which recordings cannot be read.
    make
        Makes the mixtures elsewhere, the same; None: in processes of this machine.

    Returns
    -------
    Path
        ``manifest.jsonl``, one object a line; ``manifest.csv`` holds the same facts as a table.

    Raises
    ------
    CorpusError
        At the end, where mixtures could not be made because recordings cannot be read.
    OutputError
        Where the folder is of another origin, or cannot be written.
    """
    claim(out, {**plans.origin, "format": audio_format, "dry": dry}, "mixtures", plans.names, _with_known_keys)
    if make is None:
        _check_space(plans, out, dry)
    writer = SetWriter(plans, render, out, audio_format, dry)
    told: set[str] = set()
    with progress.task("mixtures") as advance:
        for done, unreadable in enumerate((make or in_parallel)(writer, range(len(plans.names)), jobs), start=1):
            for line in unreadable:
                if line not in told:
                    progress.notice(f"left out: {line}")
            told.update(unreadable)
            advance(done, len(plans.names))
    made = {name: None for name in plans.names if (out / name).is_dir()}
    rows = [_read_facts(out / name / FACTS) for name in made]
    write_whole(out / TABLE, _table(rows).encode())
    write_whole(out / MANIFEST, "".join(json.dumps(row) + "\n" for row in rows).encode())
    if missing := [name for name in plans.names if name not in made]:
        raise CorpusError(
            f"{out}: {len(missing)} of {len(plans.names)} mixtures are left out, {missing[0]} the first, because "
            f"recordings cannot be read ({min(told)}); the others are there; get these again, and start again"
        )
    return out / MANIFEST


def _read_facts(path: Path) -> Any:
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: not the facts of a mixture ({error}); remove the folder, start again") from None


def facts_of(name: str, plan: Plan, files: dict[str, str], speech: Corpus) -> dict[str, Any]:
    """A line of the manifest: the facts that people look for, the files, and the plan, which replays it.

    genders: of the talkers in order, where the corpus says all of them.
    """
    genders = [
        next((speech.find(recording).gender for recording in talker.recordings), None) for talker in plan.talkers
    ]
    noise, room = plan.noise, plan.room
    return {
        "id": name,
        "sample_rate": plan.sample_rate,
        "n_samples": plan.n_samples,
        "speakers": [talker.speaker for talker in plan.talkers],
        "genders": genders if all(genders) else None,
        "recordings": [list(talker.recordings) for talker in plan.talkers],
        "overlap_ratio": plan.overlap_ratio,
        "levels_db": [talker.level_db for talker in plan.talkers],
        "speeds": [talker.speed for talker in plan.talkers],
        "noise": noise and noise.recording,
        "noise_snr_db": noise and noise.snr_db,
        "room_size_m": room and room.size_m,
        "t60_s": room and room.t60_s,
        "microphone_m": room and room.microphone_m,
        "sources_m": room and room.sources_m,
        "target": plan.target,
        "files": files,
        "plan": dump_settings(plan),
    }


def _with_known_keys(origin: Origin) -> Origin:
    """The same, though its recipe may have been written with older keys. Raises RecipeError."""
    parts = origin.get("mixtures", ())
    return {**origin, "mixtures": [parse_settings(WeightedRecipe, part, ORIGIN) for part in parts]}


def _check_space(plans: Plans, out: Path, dry: bool) -> None:
    """Refuse to begin what the disk cannot hold, by the size that the signals have without compression."""
    there = {path.name for path in out.iterdir()}
    missing = [index for index, name in enumerate(plans.names) if name not in there]
    if not missing:
        return
    first = [plans.plan_of(index) for index in missing[:MEASURED_PLANS]]
    samples = [plan.n_samples * ((len(plan.talkers) + 1) * (1 + dry) + 1) for plan in first]
    needed, free = float(np.mean(samples)) * BYTES_A_SAMPLE * len(missing), shutil.disk_usage(out).free
    if needed > free:
        raise OutputError(
            f"{out}: {len(missing)} mixtures need about {needed / 1e6:.0f} MB, but {free / 1e6:.0f} MB are free; "
            "make fewer, or choose an --out on another disk"
        )


def _signals(made: Mixture, dry: bool) -> dict[str, Samples]:
    """The signals of one mixture by the names of their files."""
    signals = {"mixture": made.mixture}
    signals |= {f"source{number}": source for number, source in enumerate(made.sources, start=1)}
    signals["noise"] = made.noise
    if dry:
        signals |= {f"dry_source{number}": source for number, source in enumerate(made.dry_sources, start=1)}
        signals["dry_noise"] = made.dry_noise
    return signals


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV; lists are JSON."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row["files"]))
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow([*COLUMNS, *kinds])
    for row in rows:
        table.writerow([*(_cell(row.get(column)) for column in COLUMNS), *(row["files"].get(kind) for kind in kinds)])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value
