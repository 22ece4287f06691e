"""Published lists of mixtures: plans by name (docs/mixture-lists.md)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unbabble.base.config import parse_settings
from unbabble.base.output import NAME, ORIGIN, UNFINISHED
from unbabble.base.reading import from_json
from unbabble.corpora.corpus import Corpus
from unbabble.errors import CorpusError, RecipeError
from unbabble.mixing.plan import Plan
from unbabble.sets.read import MANIFEST
from unbabble.sets.write import PREVIEW, SCAN, TABLE

AUTHORS_RATE = 16000
AUTHORS_LENGTH = 4 * AUTHORS_RATE  # samples
RESERVED = {SCAN, ORIGIN, PREVIEW, MANIFEST, TABLE}  # what else lies in a set


def read_list(path: Path, speech: Corpus, noise: Corpus | None) -> dict[str, Plan]:
    """The mixtures of a list by their ids, with the recordings that it names, in the list's order.

    Two formats: one JSON object a line with ``id`` and ``plan``, as in the manifest of a simulated set; or one
    JSON array in the fields of the authors' configuration (FaSNet/TAC), whose mixtures have 4 s at 16 kHz.
    Raises CorpusError where the file is neither, or names what the corpora lack.
    """
    entries = _entries(path)
    names = [str(entry.get("id", f"{number:06d}")) for number, entry in enumerate(entries)]
    _check_names(names, path)
    plans = {}
    for name, entry in zip(names, entries, strict=True):
        where = f"{path}: mixture {name}"
        try:
            values = entry["plan"] if "plan" in entry else _of_authors(entry, speech)
            plans[name] = _with_keys(parse_settings(Plan, values, "its plan"), speech, noise)
        except (CorpusError, RecipeError) as error:
            raise CorpusError(f"{where}: {error}") from None
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorpusError(
                f"{where}: lacks or misstates {error}; expected id and plan, or the authors' fields"
            ) from None
    if len({plan.sample_rate for plan in plans.values()}) > 1:
        raise CorpusError(f"{path}: mixtures of several sample rates; expected one; make a list for each")
    return plans


def _check_names(names: Sequence[str], path: Path) -> None:
    for name, count in Counter(names).items():
        if not NAME.fullmatch(name) or name in RESERVED or UNFINISHED.search(name):
            raise CorpusError(f"{path}: the id {name!r} is no name for a folder; expected letters, digits, - _ . +")
        if count > 1:
            raise CorpusError(f"{path}: {count} mixtures have the id {name}; give each its own")


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        an_array = text.lstrip().startswith("[")
        entries = from_json(text) if an_array else [from_json(line) for line in text.split("\n") if line.strip()]
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such list of mixtures; check the path") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: not a list of mixtures ({error}); expected JSON Lines or a JSON array") from None
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise CorpusError(f"{path}: holds no mixtures; expected one JSON object for each")
    return entries


def _of_authors(entry: dict[str, Any], speech: Corpus) -> dict[str, Any]:
    """The plan of an entry in the authors' fields.

    Both utterances begin at ``start_idx`` of their recordings; the second is ``spk_snr`` dB over the first.
    """
    ratio = float(entry["overlap_ratio"])
    if not 0 <= ratio <= 1:
        raise ValueError(f"overlap_ratio {ratio} (expected 0 to 1)")
    if len(entry["speech"]) != 2:
        raise ValueError(f"speech {entry['speech']} (expected two utterances)")
    length = int(AUTHORS_LENGTH / (2 - ratio))
    said = zip(entry["speech"], (0, int((1 - ratio) * length)), (0.0, entry["spk_snr"]), strict=True)
    talkers = [
        {
            "speaker": speech.find(recording).name,
            "stretches": [{"recording": recording, "start": entry["start_idx"], "length": length, "at": at}],
            "level_db": level_db,
        }
        for recording, at, level_db in said
    ]
    return {
        "sample_rate": AUTHORS_RATE,
        "n_samples": AUTHORS_LENGTH,
        "talkers": talkers,
        "noise": {"recording": Path(str(entry["noise"])).stem, "start": 0, "snr_db": entry["noise_snr"]},
        "room": {
            "size_m": entry["room_size"],
            "t60_s": entry["RT60"],
            "microphone_m": entry["mic_pos"][0],
            "sources_m": [*entry["spk_pos"], *entry["noise_pos"]],
        },
    }


def _with_keys(plan: Plan, speech: Corpus, noise: Corpus | None) -> Plan:
    """The plan with recordings named by their keys, all of which exist."""
    if plan.noise is not None and noise is None:
        raise CorpusError("has a noise; give a folder of noises")
    talkers = tuple(
        replace(
            talker,
            stretches=tuple(
                replace(stretch, recording=speech.find(stretch.recording).key) for stretch in talker.stretches
            ),
        )
        for talker in plan.talkers
    )
    heard = replace(plan.noise, recording=noise.find(plan.noise.recording).key) if plan.noise and noise else None
    return replace(plan, talkers=talkers, noise=heard)
