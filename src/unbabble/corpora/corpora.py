"""The speech and the noise of one purpose, and the parts of both that a split takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unbabble.base.progress import Progress, unwatched
from unbabble.corpora.corpus import Corpus
from unbabble.corpora.scan import scan_noise, scan_speech
from unbabble.corpora.splits import read_splits
from unbabble.errors import CorpusError


@dataclass(frozen=True)
class Corpora:
    """What can be heard; noise is None where there is none. unreadable: files left out, one line each."""

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


def scan_corpora(
    speech: Sequence[Path],
    noise: Sequence[Path],
    cache: Path | None = None,
    progress: Progress = unwatched,
) -> Corpora:
    """Scan folders and manifests; cache: folder of what to remember for the next time. Raises CorpusError."""

    def remembered(name: str) -> Path | None:
        return cache and cache / f"{name}.jsonl"

    spoken = scan_speech(speech, cache=remembered("speech"), progress=progress)
    if not noise:
        return Corpora(spoken.corpus, None, spoken.unreadable)
    noisy = scan_noise(noise, cache=remembered("noise"), progress=progress)
    return Corpora(spoken.corpus, noisy.corpus, spoken.unreadable + noisy.unreadable)
