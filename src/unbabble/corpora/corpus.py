"""Recordings by the name of who or what is heard, and the parts of a corpus that training asks for."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from posixpath import basename, splitext

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
