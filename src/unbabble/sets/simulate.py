"""Speech, noise and a recipe or a list into a set of mixtures on disk, and a page that shows some of it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from unbabble.base.config import dump_settings
from unbabble.base.output import writing
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.corpora.corpus import Corpora
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import CorpusError
from unbabble.mixing.bank import Rooms, rooms_of_bank
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import Mixtures
from unbabble.mixing.render import Renderer
from unbabble.sets.lists import read_list
from unbabble.sets.write import PREVIEW, SCAN, Making, Plans, write_set

KEPT_RECORDINGS = 64  # decoded files held in memory by each process


def simulate(
    speech: Sequence[Path],
    noise: Sequence[Path],
    out: Path,
    mixtures: Mixtures,
    *,
    count: int = 0,
    listed: Path | None = None,
    seed: int = 0,
    jobs: int = 1,
    bank: Path | None = None,
    splits: Path | None = None,
    split: str | None = None,
    audio_format: str = "flac",
    dry: bool = False,
    preview: int = 0,
    progress: Progress = UNWATCHED,
    make: Making | None = None,
) -> list[Path]:
    """Write ``count`` drawn mixtures, or those of a list, and a page that shows some; returns what was written.

    mixtures: what to draw from; listed: of whose mixtures those with speakers outside the split are left out; bank:
    rooms to draw from; make: see write_set. For the rest see ``unbabble.simulate``.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    everything = scan_corpora(speech, noise, out / SCAN, progress)
    for line in everything.unreadable:
        progress.notice(f"left out: {line}")
    corpora = everything if split is None else everything.in_split(split, splits)
    if listed is None:
        plans, render = _drawn(corpora, mixtures, max(count, preview), seed, bank)
    else:
        plans, render = listed_plans(listed, everything, corpora, progress)
        count = len(plans.names)
    written = []
    if count:
        written.append(write_set(plans.first(count), render, out, audio_format, dry, jobs, progress, make))
    if preview:
        written.append(_show(plans.first(preview), render, out / PREVIEW))
    return written


def _drawn(corpora: Corpora, mixtures: Mixtures, count: int, seed: int, bank: Path | None) -> tuple[Plans, Renderer]:
    audio = DecodedAudio(mixtures[0].recipe.sample_rate, keep=KEPT_RECORDINGS)
    rooms = rooms_of_bank(mixtures, bank) if bank else Rooms(audio.sample_rate)
    mixer = Mixer(corpora.speech, corpora.noise, mixtures, audio, seed, rooms)
    origin = {
        "seed": seed,
        "mixtures": [dump_settings(part) for part in mixtures],
        **_fingerprints(corpora),
        "rooms": bank and hashlib.sha256(bank.read_bytes()).hexdigest()[:16],
    }
    names = [f"{number:06d}" for number in range(count)]
    return Plans(names, mixer.draw, origin), mixer.render


def listed_plans(
    path: Path, everything: Corpora, corpora: Corpora, progress: Progress = UNWATCHED
) -> tuple[Plans, Renderer]:
    """The mixtures of a list whose talkers are all in ``corpora``, and what renders them.

    everything: all that the list may name; progress: told how many are left out. Raises CorpusError.
    """
    every = read_list(path, everything.speech, everything.noise)
    speakers = set(corpora.speech.names)
    kept = {
        name: plan for name, plan in every.items() if speakers.issuperset(talker.speaker for talker in plan.talkers)
    }
    if not kept:
        raise CorpusError(f"{path}: every mixture has speakers of other splits; choose another split, or none")
    if len(kept) < len(every):
        progress.notice(
            f"{path}: left out {len(every) - len(kept)} of {len(every)} mixtures, with speakers of other splits"
        )
    plans = list(kept.values())
    origin = {"list": hashlib.sha256(path.read_bytes()).hexdigest()[:16], **_fingerprints(everything)}
    audio = DecodedAudio(plans[0].sample_rate, keep=KEPT_RECORDINGS)
    render = Renderer(everything.speech, everything.noise, audio, Rooms(audio.sample_rate))
    return Plans(list(kept), plans.__getitem__, origin), render


def _fingerprints(corpora: Corpora) -> dict[str, str | None]:
    noise = None if corpora.noise is None else corpora.noise.fingerprint
    return {"speech": corpora.speech.fingerprint, "noise": noise}


def _show(plans: Plans, render: Renderer, page: Path) -> Path:
    """Write the page that shows all of the plans."""
    from unbabble.sets.preview import write_preview  # brings matplotlib, which takes its time

    made = ((name, render(plans.plan_of(number))) for number, name in enumerate(plans.names))
    write_preview(made, page, f"{len(plans.names)} mixtures of {page.absolute().parent.name}")
    return page
