"""Mixture number i: drawn by a seed, then rendered."""

import fnmatch
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from unbabble.corpora.corpus import Corpus, Recording
from unbabble.corpora.decoded import DecodedAudio
from unbabble.errors import AudioError, CorpusError
from unbabble.mixing.bank import Rooms
from unbabble.mixing.plan import Codec, Noise, Plan, Stretch, Talker, samples_given, samples_needed
from unbabble.mixing.recipe import (
    CodecRecipe,
    Conversation,
    LowPassRecipe,
    MixtureRecipe,
    Mixtures,
    Overlap,
    WholeUtterances,
    most_speakers,
)
from unbabble.mixing.render import Mixture, Renderer
from unbabble.mixing.signals import rms
from unbabble.mixing.timeline import Span, Spans, conversation, overlapping

SILENCE = 1e-3  # RMS of a span below which nobody is taken to speak
TRIES = 20


class Mixer:
    """Mixtures of speech, noise and rooms by number.

    Parameters
    ----------
    speech, noise
        What may be heard; no noise where no recipe asks for it.
    mixtures
        The recipes and their weights.
    audio
        What decodes the recordings.
    seed
        With an index, it defines each mixture alone.
    rooms
        Where rooms come from; by default they are made one by one.

    Raises
    ------
    CorpusError
        Where there are fewer speakers than talkers, or no noise where one is asked for.
    """

    def __init__(
        self,
        speech: Corpus,
        noise: Corpus | None,
        mixtures: Mixtures,
        audio: DecodedAudio,
        seed: int = 0,
        rooms: Rooms | None = None,
    ) -> None:
        most = most_speakers(mixtures)
        if len(speech.names) < most:
            raise CorpusError(
                f"mixtures of {most} talkers need {most} speakers, "
                f"but there is only {', '.join(speech.names) or 'nobody'}; give more speech"
            )
        self.speech, self.noise, self.mixtures, self.audio, self.seed = speech, noise, mixtures, audio, seed
        self._noises = _noises_by_pattern(noise, mixtures)
        self.rooms = rooms or Rooms(audio.sample_rate)
        self.render = Renderer(speech, noise, audio, self.rooms)

    def __call__(self, index: int) -> Mixture:
        """Mixture number ``index``. Raises as ``draw`` does."""
        return self.render(self.draw(index))

    def draw(self, index: int) -> Plan:
        """What mixture number ``index`` is: the same for the same seed, whatever was drawn before.

        Where a recording cannot be read, all is drawn anew.

        Raises
        ------
        CorpusError
            Where a speaker has nothing but silence.
        AudioError
            Where hardly a recording can be read.
        """
        rng = np.random.default_rng([self.seed, index])
        parts = [part for part in self.mixtures if part.first <= index]
        weights = np.array([part.weight for part in parts])
        recipe = parts[int(rng.choice(len(parts), p=weights / weights.sum()))].recipe
        for _ in range(TRIES - 1):
            with suppress(AudioError):
                return self._plan(recipe, rng)
        return self._plan(recipe, rng)

    def _plan(self, recipe: MixtureRecipe, rng: np.random.Generator) -> Plan:
        n_speakers = int(rng.integers(recipe.fewest_speakers, recipe.most_speakers, endpoint=True))
        names = [str(name) for name in self._speakers(recipe, n_speakers, rng)]
        speeds = [float(rng.uniform(*recipe.speed)) if recipe.speed else 1.0 for _ in names]
        same = recipe.same_speaker
        if recipe.speed and n_speakers > 1 and same.probability and rng.random() < same.probability:
            names[1], speeds[:2] = names[0], _two_speeds(recipe.speed, same.speeds_apart, rng)
        stretches, n_samples = self._stretches(recipe, names, speeds, rng)
        talkers = tuple(
            Talker(
                name,
                pieces,
                float(rng.uniform(*recipe.level_db)) if number else 0.0,
                speed,
                _cutoff_hz(recipe.low_pass, recipe.low_pass.talker_probability, rng),
            )
            for number, (name, pieces, speed) in enumerate(zip(names, stretches, speeds, strict=True))
        )
        noise = None if recipe.noise_snr_db is None else self._noise(n_samples, recipe, rng)
        cutoff_hz = _cutoff_hz(recipe.low_pass, recipe.low_pass.mixture_probability, rng)
        room = None if recipe.room is None else self.rooms.draw(recipe.room, n_speakers + 1, rng)
        lower_hz = 0.0  # it and the codec are drawn last: what comes before is as it was without them
        if rng.random() < recipe.telephone.probability:
            lower_hz, cutoff_hz = recipe.telephone.band_hz
        codec = _codec(recipe.codec, rng)
        return Plan(recipe.sample_rate, n_samples, talkers, noise, room, recipe.target, cutoff_hz, lower_hz, codec)

    def _speakers(self, recipe: MixtureRecipe, number: int, rng: np.random.Generator) -> NDArray[np.str_]:
        """So many different speakers."""
        weights = _by_minutes(self.speech, self.speech.names, recipe.minutes_power)
        return rng.choice(np.array(self.speech.names), number, replace=False, p=weights)

    def _stretches(
        self, recipe: MixtureRecipe, names: Sequence[str], speeds: Sequence[float], rng: np.random.Generator
    ) -> tuple[list[tuple[Stretch, ...]], int]:
        """What each talker says and when, and the length of the mixture in samples."""
        wanted = None if recipe.duration_s is None else round(recipe.duration_s * recipe.sample_rate)
        if isinstance(recipe.timeline, WholeUtterances) and names:
            whole = [self._whole(name, speed, rng) for name, speed in zip(names, speeds, strict=True)]
            return _excerpt(whole, speeds, recipe.timeline, wanted, rng)
        assert wanted is not None  # the recipe has been checked
        spans = _spans(recipe, wanted, len(names), rng)
        stretches = [
            tuple(piece for span in one for piece in self._speech(name, span, speed, rng))
            for name, one, speed in zip(names, spans, speeds, strict=True)
        ]
        return stretches, wanted

    def _speech(self, name: str, span: Span, speed: float, rng: np.random.Generator) -> list[Stretch]:
        """Fill a span with speech of one speaker; short recordings follow one another until it is full."""
        for _ in range(TRIES):
            pieces: list[Stretch] = []
            at = span[0]
            while at < span[1]:
                recording = _any(self.speech.of(name), rng)
                n_there = self._length(recording)
                length = min(samples_given(n_there, speed), span[1] - at)
                if length == 0:
                    raise CorpusError(f"{recording.path}: holds no samples; remove it from the speech folder")
                start = int(rng.integers(n_there - samples_needed(length, speed) + 1))
                pieces.append(Stretch(recording.key, start, length, at))
                at += length
            if self._rms(pieces, speed) > SILENCE:
                return pieces
        raise CorpusError(f"speaker {name}: found only silence in {TRIES} excerpts; remove this speaker's folder")

    def _whole(self, name: str, speed: float, rng: np.random.Generator) -> Stretch:
        """A whole recording of one speaker, from the first sample of the mixture on."""
        for _ in range(TRIES):
            recording = _any(self.speech.of(name), rng)
            length = samples_given(self._length(recording), speed)
            if length and self._rms([piece := Stretch(recording.key, 0, length, 0)], speed) > SILENCE:
                return piece
        raise CorpusError(f"speaker {name}: found only silence in {TRIES} recordings; remove this speaker's folder")

    def _noise(self, n_samples: int, recipe: MixtureRecipe, rng: np.random.Generator) -> Noise:
        """A stretch of one noise, from its beginning where it is shorter than the mixture."""
        assert self.noise is not None
        assert recipe.noise_snr_db is not None
        names = self._noises[recipe.noise_names]
        weights = _by_minutes(self.noise, names, recipe.noise_minutes_power)
        for _ in range(TRIES):
            recording = _any(self.noise.of(str(rng.choice(names, p=weights))), rng)
            start = int(rng.integers(max(1, self._length(recording) - n_samples + 1)))
            if rms(self.audio.read(recording.path, start, n_samples)) > SILENCE / 10:
                return Noise(recording.key, start, float(rng.uniform(*recipe.noise_snr_db)))
        raise CorpusError(f"found only silence in {TRIES} noises; give a folder of other noises")

    def _length(self, recording: Recording) -> int:
        return self.audio.length(recording.path)

    def _rms(self, pieces: Sequence[Stretch], speed: float) -> float:
        paths = [self.speech.find(piece.recording).path for piece in pieces]
        heard = [
            self.audio.read(path, piece.start, samples_needed(piece.length, speed))
            for path, piece in zip(paths, pieces, strict=True)
        ]
        return rms(np.concatenate(heard))


def _noises_by_pattern(noise: Corpus | None, mixtures: Mixtures) -> dict[str, list[str]]:
    """The names of the noises that each part draws from, by its ``noise_names``. Raises CorpusError."""
    patterns = {part.recipe.noise_names for part in mixtures if part.recipe.noise_snr_db is not None}
    if patterns and not (noise and noise.names):
        raise CorpusError(
            "the recipe asks for noise, but there is none (left in the split): "
            "give a folder of noises, or set noise_snr_db: null"
        )
    names = {pattern: fnmatch.filter(noise.names, pattern) for pattern in patterns} if noise else {}
    if unknown := sorted(pattern for pattern in names if not names[pattern]):
        raise CorpusError(f"no noise has a name like {unknown[0]!r}; see noise_names, or give a folder of such")
    return names


def _by_minutes(corpus: Corpus, names: Sequence[str], power: float) -> NDArray[np.float64] | None:
    """Probabilities of names by a power of their minutes; None for power 0, where all are alike."""
    if power == 0:
        return None
    weights = np.array([corpus.minutes[name] for name in names]) ** power
    return np.asarray(weights / weights.sum())


def _spans(recipe: MixtureRecipe, n_samples: int, n_speakers: int, rng: np.random.Generator) -> Spans:
    if n_speakers == 0:
        return ()
    if isinstance(recipe.timeline, Conversation):
        return conversation(recipe.timeline, n_samples, n_speakers, recipe.sample_rate, rng)
    assert isinstance(recipe.timeline, Overlap)
    ratios = recipe.timeline.ratios
    ratio = float(rng.uniform(*ratios[int(rng.integers(len(ratios)))]))
    return overlapping(n_samples, ratio, n_speakers)


def _excerpt(
    whole: Sequence[Stretch],
    speeds: Sequence[float],
    timeline: WholeUtterances,
    wanted: int | None,
    rng: np.random.Generator,
) -> tuple[list[tuple[Stretch, ...]], int]:
    """Whole utterances cut to the shortest or not, and to an excerpt where a length is wanted.

    A mixture shorter than wanted ends in silence; an utterance that ends before the excerpt leaves a talker
    who says nothing.
    """
    n_samples = (min if timeline.length == "min" else max)(piece.length for piece in whole)
    first = 0
    if wanted is not None:
        first = int(rng.integers(max(1, n_samples - wanted + 1)))
        n_samples = min(wanted, n_samples)
    kept: list[tuple[Stretch, ...]] = []
    for piece, speed in zip(whole, speeds, strict=True):
        length = min(piece.length - first, n_samples)
        kept.append((Stretch(piece.recording, int(first * speed), length, 0),) if length > 0 else ())
    return kept, wanted or n_samples


def _any(recordings: Sequence[Recording], rng: np.random.Generator) -> Recording:
    return recordings[int(rng.integers(len(recordings)))]


def _cutoff_hz(recipe: LowPassRecipe, probability: float, rng: np.random.Generator) -> float | None:
    return float(rng.uniform(*recipe.cutoff_hz)) if rng.random() < probability else None


def _codec(recipe: CodecRecipe, rng: np.random.Generator) -> Codec | None:
    drawn = rng.random()
    if drawn < recipe.mp3_probability:
        return Codec("mp3", float(rng.uniform(*recipe.mp3_kbps)))
    if drawn < recipe.mp3_probability + recipe.opus_probability:
        return Codec("opus", float(rng.uniform(*recipe.opus_kbps)))
    return None


def _two_speeds(bounds: tuple[float, float], apart: float, rng: np.random.Generator) -> list[float]:
    """Any two in a range that lie so far apart or further, in any order."""
    slow, fast = np.sort(rng.uniform(bounds[0], bounds[1] - apart, 2))
    return [float(speed) for speed in rng.permutation([slow, fast + apart])]
