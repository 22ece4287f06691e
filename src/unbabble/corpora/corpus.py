"""Recordings by the name of who or what is heard, and the parts of them that a split takes."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from posixpath import basename, splitext
from typing import Any

from unbabble.base.reading import from_json
from unbabble.errors import CorpusError


@dataclass(frozen=True)
class Recording:
    """One file of a corpus."""

    name: str  # of the speaker, or of the noise
    key: str  # path below its corpus folder, with '/': the same on any machine
    path: Path
    duration_s: float
    split: str | None = None  # "train", "valid" or "test", where the corpus or a split file says
    gender: str | None = None  # "f" or "m", where the corpus says


@dataclass(frozen=True)
class Corpus:
    """Recordings, kept sorted by name and key whatever order they are given in."""

    recordings: tuple[Recording, ...]

    def __post_init__(self) -> None:
        in_order = sorted(self.recordings, key=lambda recording: (recording.name, recording.key))
        object.__setattr__(self, "recordings", tuple(in_order))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Each name once, sorted."""
        return tuple(self._by_name)

    @cached_property
    def minutes(self) -> dict[str, float]:
        """Of all recordings of each name."""
        return {name: sum(one.duration_s for one in own) / 60 for name, own in self._by_name.items()}

    @property
    def hours(self) -> float:
        return sum(recording.duration_s for recording in self.recordings) / 3600

    @property
    def fingerprint(self) -> str:
        """Changes when the names, the keys or the durations of the recordings do."""
        facts = [(recording.name, recording.key, round(recording.duration_s, 3)) for recording in self.recordings]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def of(self, name: str) -> tuple[Recording, ...]:
        """The recordings of one name. Raises KeyError where the corpus lacks it."""
        return self._by_name[name]

    def only(self, names: Iterable[str]) -> "Corpus":
        """The part with these names; names that the corpus lacks are passed over."""
        wanted = set(names)
        return Corpus(tuple(recording for recording in self.recordings if recording.name in wanted))

    def without(self, names: Iterable[str]) -> "Corpus":
        """The part without these names."""
        return self.only(set(self.names) - set(names))

    def in_split(self, split: str) -> "Corpus":
        """The part in one split. Raises CorpusError where nothing is in it."""
        part = tuple(recording for recording in self.recordings if recording.split == split)
        if not part:
            splits = ", ".join(sorted({recording.split for recording in self.recordings if recording.split}))
            raise CorpusError(
                f"no recordings in split {split!r}; expected {splits or 'none: give a split file first'}"
            )
        return Corpus(part)

    def with_splits(self, splits: Mapping[str, Collection[str]]) -> "Corpus":
        """The same recordings with these speakers in these splits, and all others in none.

        Names that the corpus lacks are passed over. Raises CorpusError where a speaker is in two splits.
        Noises may be in several: choose those with ``only``.
        """
        split_of: dict[str, str] = {}
        for split, names in splits.items():
            for name in self._by_name.keys() & set(names):
                if split_of.setdefault(name, split) != split:
                    raise _in_two_splits(name, split_of[name], split)
        return Corpus(tuple(replace(recording, split=split_of.get(recording.name)) for recording in self.recordings))

    def find(self, id: str) -> Recording:
        """The recording with this key, else this key without its suffix, else this file stem.

        Raises CorpusError where there is none or more than one.
        """
        found = next((ids[id] for ids in self._by_id if id in ids), [])
        if not found:
            raise CorpusError(
                f"no recording {id!r}; searched the keys and file stems of {len(self.recordings)} recordings"
                f" of {len(self.names)} names; expected one such as {self._example}"
            )
        if len(found) > 1:
            paths = ", ".join(str(recording.path) for recording in found[:3])
            raise CorpusError(f"recording {id!r} could be any of {len(found)}: {paths}; give its whole key")
        return found[0]

    @cached_property
    def _by_name(self) -> dict[str, tuple[Recording, ...]]:
        groups = groupby(self.recordings, key=lambda recording: recording.name)
        return {name: tuple(recordings) for name, recordings in groups}

    @cached_property
    def _by_id(self) -> tuple[dict[str, list[Recording]], ...]:
        """By key, by key without suffix and by file stem."""
        keys: dict[str, list[Recording]] = {}
        bare: dict[str, list[Recording]] = {}
        stems: dict[str, list[Recording]] = {}
        for recording in self.recordings:
            keys.setdefault(recording.key, []).append(recording)
            bare.setdefault(splitext(recording.key)[0], []).append(recording)
            stems.setdefault(splitext(basename(recording.key))[0], []).append(recording)
        return keys, bare, stems

    @property
    def _example(self) -> str:
        return repr(self.recordings[0].key) if self.recordings else "none: the corpus is empty"


@dataclass(frozen=True)
class Corpora:
    """The speech and the noise of one purpose; noise is None where there is none.

    unreadable: files left out, one line each.
    """

    speech: Corpus
    noise: Corpus | None
    unreadable: tuple[str, ...] = ()

    def in_split(self, split: str, splits: Path | None = None) -> "Corpora":
        """The speakers and noises of one split, by a split file, else by what the corpora say of themselves.

        Without a split file, noise of which no split is known serves all splits. Raises CorpusError where a
        speaker is in two splits or nobody is in this one.
        """
        if splits is None:
            known = self.noise is not None and any(recording.split for recording in self.noise.recordings)
            noise = self.noise.in_split(split) if self.noise and known else self.noise
            return Corpora(self.speech.in_split(split), noise, self.unreadable)
        names = read_splits(splits)
        if split not in names:
            raise CorpusError(f"{splits}: no split called {split!r}; it has {', '.join(names)}")
        speech = self.speech.with_splits(names).in_split(split)
        return Corpora(speech, self.noise and self.noise.only(names[split]), self.unreadable)


def read_splits(path: Path) -> dict[str, tuple[str, ...]]:
    """Names of the speakers and noises by split, from ``{split: {corpus: [name]}}`` or ``{split: [name]}``.

    Raises CorpusError where the file cannot be read or holds something else.
    """
    try:
        content = from_json(path.read_text(encoding="utf-8"))
        return {split: _names(value) for split, value in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(
            f"{path}: not a readable split file ({error}); expected {{split: {{corpus: [name]}}}}"
        ) from None


def check_disjoint(speech: Corpus) -> None:
    """Raise CorpusError where a speaker has recordings in two splits."""
    for name in speech.names:
        splits = sorted({recording.split for recording in speech.of(name) if recording.split})
        if len(splits) > 1:
            raise _in_two_splits(name, *splits[:2])


def _in_two_splits(name: str, one: str, other: str) -> CorpusError:
    return CorpusError(
        f"speaker {name!r} is in two splits, {one} and {other}; expected one; leave it out of the other"
    )


def _names(value: Any) -> tuple[str, ...]:
    lists = value.values() if isinstance(value, dict) else [value]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        raise TypeError("a split holds something that is no list of names")
    return tuple(name for names in lists for name in names)
