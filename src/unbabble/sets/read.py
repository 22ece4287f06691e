"""Mixtures that lie on disk with their truths: LibriMix, WSJ0-mix, WHAM!, WHAMR!, LibriCSS, unbabble's own sets."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from unbabble.audio import Samples, open_recording, to_mono
from unbabble.base.reading import from_json
from unbabble.errors import AudioError, CorpusError
from unbabble.sets import libricss

MANIFEST = "manifest.jsonl"
SUFFIXES = (".wav", ".flac")
OF_TALKERS_AND_NOISE = ("mix_both", "mix_clean", "mix_single")
# What a layout is known by: its manifest, or its folders of mixtures, the one read by default first.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "unbabble": (MANIFEST,),
    "librimix": OF_TALKERS_AND_NOISE,
    "wham": OF_TALKERS_AND_NOISE,
    "whamr": tuple(f"{mixture}_{room}" for room in ("reverb", "anechoic") for mixture in OF_TALKERS_AND_NOISE),
    "wsj0-mix": ("mix",),
    "libricss": (libricss.SESSIONS,),
}
NOISY = ("mix_both", "mix_single")  # begin the names of folders of mixtures with noise
ONE_TALKER = "mix_single"
DEEPEST = 4  # folders from a root to a subset: Libri2Mix/wav16k/min/test
NAMED = 8  # folders that an error names at most
EXPECTED = "an id and files: mixture, source1 and so on, one for each of the speakers"


@dataclass(frozen=True)
class MixtureFiles:
    """The files of one mixture, and what the set says about it.

    noise: None where the mixture holds none, or the set does not keep it by itself. None and empty: not said.
    genders: "f" or "m" for each of the speakers. excerpt: what of the files it is, where that is not all of them.
    """

    id: str
    mixture: Path
    sources: tuple[Path, ...]
    noise: Path | None = None
    overlap_ratio: float | None = None
    t60_s: float | None = None
    noise_snr_db: float | None = None
    speakers: tuple[str, ...] = ()
    genders: tuple[str, ...] = ()
    excerpt: libricss.Excerpt | None = None


@dataclass(frozen=True)
class MixtureSet:
    """Mixtures sorted by id, read when asked for by number.

    sample_rate: Hz, of the first mixture that can be read; all other files must have it too.
    """

    sample_rate: int
    items: tuple[MixtureFiles, ...]

    @property
    def n_sources(self) -> int:
        """The most of any mixture."""
        return max((len(item.sources) for item in self.items), default=0)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Samples, Samples]:
        """Mixture (samples,) and its sources (sources, samples), float32, full scale 1; channels are averaged.

        Raises AudioError where a file cannot be read, CorpusError where sample rates or lengths differ.
        """
        item = self.items[index]
        if item.excerpt is not None:
            return item.excerpt.read()
        mixture = self._read(item.mixture)
        sources = [self._read(path) for path in item.sources]
        for path, source in zip(item.sources, sources, strict=True):
            if source.size != mixture.size:
                raise CorpusError(
                    f"{path}: {source.size} samples, but its mixture {item.mixture} has {mixture.size}; "
                    "expected the same length; make or copy the set again"
                )
        return mixture, np.reshape(sources, (len(sources), mixture.size)).astype(np.float32)

    def _read(self, path: Path) -> Samples:
        with open_recording(path) as recording:
            if recording.sample_rate != self.sample_rate:
                raise CorpusError(
                    f"{path}: sample rate {recording.sample_rate} Hz; expected {self.sample_rate} Hz, "
                    "as the first mixture of its set has; resample the set to one rate"
                )
            whole = np.concatenate(list(to_mono(recording.blocks)), axis=1)
        return np.asarray(whole[0], np.float32)


def read_set(
    folder: Path, *, layout: str = "auto", mixture: str | None = None, sources: str | None = None
) -> MixtureSet:
    """The mixtures of one subset, such as Libri2Mix/wav16k/min/test, or of a set of unbabble's.

    Files are found by their names; LibriMix's tables of paths are not needed. A mix_single has one source.

    Parameters
    ----------
    folder
        Of the subset.
    layout
        One of LAYOUTS; ``auto``: the first that fits.
    mixture
        Folder of mixtures to read; None: mix_both, for WHAMR! mix_both_reverb, or the only one that is there.
    sources
        ``anechoic`` or ``reverb``, for WHAMR! only; None: what the mixture is the sum of.

    Raises
    ------
    CorpusError
        Where the folder is no such subset, holds no mixtures or lacks a file of one.
    AudioError
        Where no mixture can be read.
    """
    name = _layout_of(folder, layout)
    if name == "libricss":
        found = _of_libricss(folder)
    elif name != "unbabble":
        found = _of_folders(folder, LAYOUTS[name], mixture, sources)
    else:
        found = _of_manifest(folder / MANIFEST)
    if name in ("libricss", "unbabble") and (mixture or sources):
        raise CorpusError(f"{folder}: holds one kind of mixtures and sources; leave {mixture or sources} out")
    items = tuple(sorted(found, key=lambda item: item.id))
    if not items:
        raise CorpusError(f"{folder}: no mixtures in this set ({name}); expected at least one; make or copy it again")
    _check_complete(items)
    return MixtureSet(_sample_rate(items), items)


def _sample_rate(items: Sequence[MixtureFiles]) -> int:
    """Of the first mixture that can be read. Raises AudioError where none can."""
    for item in items:
        try:
            with open_recording(item.mixture) as recording:
                return recording.sample_rate
        except AudioError:
            if item is items[-1]:
                raise
    raise AssertionError("no items")


def _layout_of(folder: Path, layout: str) -> str:
    """The first layout that fits, of all or of the one asked for."""
    if layout not in ("auto", *LAYOUTS):
        raise CorpusError(f"no layout called {layout!r}; expected auto, {', '.join(LAYOUTS)}")
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; expected a set of mixtures; check the path")
    layouts = LAYOUTS if layout == "auto" else {layout: LAYOUTS[layout]}
    for name, marks in layouts.items():
        if _present(folder, marks):
            return name
    if subsets := _subsets_below(folder, layouts):
        more = f" and {len(subsets) - NAMED} more" if len(subsets) > NAMED else ""
        raise CorpusError(f"{folder}: expected one subset; give one of {', '.join(subsets[:NAMED])}{more}")
    expected = ", or ".join(f"{' or '.join(marks)} ({name})" for name, marks in layouts.items())
    raise CorpusError(f"{folder}: not a set of mixtures; expected in it {expected}; give the folder of one subset")


def _present(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if any(folder.glob(name))]


def _subsets_below(folder: Path, layouts: dict[str, tuple[str, ...]]) -> list[str]:
    marks = {mark for marks in layouts.values() for mark in marks}
    depths = range(1, DEEPEST + 1)
    found = {path.parent for depth in depths for mark in marks for path in folder.glob("*/" * depth + mark)}
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _of_folders(
    folder: Path, mixtures: tuple[str, ...], mixture: str | None, sources: str | None
) -> Iterator[MixtureFiles]:
    """Mixtures from a folder for each signal, in which the files of one mixture have one name."""
    there = _present(folder, mixtures)
    chosen = mixture or (there[0] if len(there) == 1 else mixtures[0])
    if chosen not in there:
        raise CorpusError(f"{folder}: no mixtures {chosen}; expected one of those there: {', '.join(there)}")
    source_folders = _source_folders(folder, chosen, sources)
    noise = folder / "noise"
    with_noise = chosen.startswith(NOISY) and noise.is_dir()
    for path in (folder / chosen).iterdir():
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            files = tuple(one / path.name for one in source_folders)
            yield MixtureFiles(path.stem, path, files, noise / path.name if with_noise else None)


def _source_folders(folder: Path, mixture: str, sources: str | None) -> list[Path]:
    """s1, s2 and as many more as there are; s1_reverb and so on where the mixture or ``sources`` names a room."""
    room = [sources] if sources else mixture.split("_")[2:]
    numbered = (folder / "_".join([f"s{number}", *room]) for number in count(1))
    first = next(numbered)
    if not first.is_dir():
        there = ", ".join(sorted(path.name for path in folder.glob("s1*"))) or "none"
        raise CorpusError(f"{folder}: no sources {first.name}; expected one of those there: {there}")
    if mixture.startswith(ONE_TALKER):
        return [first]
    return [first, next(numbered), *takewhile(Path.is_dir, numbered)]


def _of_libricss(folder: Path) -> Iterator[MixtureFiles]:
    for one in libricss.excerpts(folder):
        sources = (one.session / libricss.TALKERS,) * len(one.speakers)  # channels of one file
        yield MixtureFiles(
            one.id,
            one.session / libricss.MIXTURE,
            sources,
            overlap_ratio=one.overlap_ratio,
            speakers=one.speakers,
            excerpt=one,
        )


def _of_manifest(manifest: Path) -> Iterator[MixtureFiles]:
    try:
        text = manifest.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{manifest}: not a readable manifest ({error}); make or copy the set again") from None
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                yield _of_row(from_json(line), manifest.parent)
        except KeyError as missing:
            raise CorpusError(f"{manifest}, line {number}: no {missing.args[0]}; expected {EXPECTED}") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise CorpusError(f"{manifest}, line {number}: no mixture ({error}); expected {EXPECTED}") from None


def _of_row(row: dict[str, Any], folder: Path) -> MixtureFiles:
    """One line of a manifest. Raises KeyError, ValueError, TypeError or AttributeError where it is wrong."""
    files = {name: folder / path for name, path in row["files"].items()}
    speakers = tuple(str(speaker) for speaker in row.get("speakers") or ())
    n_listed = sum(bool(re.fullmatch(r"source\d+", name)) for name in files)
    n_sources = max(n_listed, len(speakers), row.get("speakers") is None)  # a mixture may hold nobody, if it says so
    sources = tuple(files[f"source{number}"] for number in range(1, n_sources + 1))
    ratio, t60_s, snr_db = (
        None if row.get(fact) is None else float(row[fact]) for fact in ("overlap_ratio", "t60_s", "noise_snr_db")
    )
    genders = tuple(str(gender) for gender in row.get("genders") or ())
    return MixtureFiles(
        str(row["id"]), files["mixture"], sources, files.get("noise"), ratio, t60_s, snr_db, speakers, genders
    )


def _check_complete(items: Iterable[MixtureFiles]) -> None:
    """Raise CorpusError where a file is missing."""

    @cache  # each folder is listed once: to ask for every file by itself takes minutes on network disks
    def names(folder: Path) -> set[str]:
        return {path.name for path in folder.glob("*")}

    for item in items:
        for path in (item.mixture, *item.sources, *([item.noise] if item.noise else [])):
            if path.name not in names(path.parent):
                raise CorpusError(
                    f"{path}: no such file; expected it as part of mixture {item.id}; make or copy the set again"
                )
