"""One seeded draw, one mixture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from unbabble.errors import CorpusError
from unbabble.mixing.corpus import Corpus, DecodedAudio
from unbabble.mixing.recipe import LowPassRecipe, MixtureRecipe, Mixtures
from unbabble.mixing.rooms import Room, RoomResponse, draw_room, impulse_responses

Samples = NDArray[np.float32]
DrawRoom = Callable[[MixtureRecipe, np.random.Generator], RoomResponse]

PEAK = 0.9  # of the loudest signal of a mixture, full scale 1
SILENCE = 1e-3  # RMS of an excerpt below which nobody is taken to speak
EXCERPT_TRIES = 20


@dataclass(frozen=True)
class Talker:
    """Who speaks when: samples [start, start + length) of the mixture, from these files."""

    speaker: str
    files: tuple[str, ...]
    start: int
    length: int


@dataclass(frozen=True)
class Facts:
    """What was drawn. Overlap ratio: shared samples over the length of one utterance (paper)."""

    overlap_ratio: float
    levels_db: tuple[float, ...]  # of the first talker over each other one, dry
    noise_snr_db: float | None
    talkers: tuple[Talker, ...]
    noise: str | None = None
    room: Room | None = None


@dataclass(frozen=True)
class Mixture:
    """mixture (samples,) = sources (talkers, samples) summed + noise (samples,), float32.

    dry_sources, dry_noise: the same before the room, at a common gain of their own.
    """

    mixture: Samples
    sources: Samples
    noise: Samples
    dry_sources: Samples
    dry_noise: Samples
    facts: Facts = field(repr=False)


def simulated_room(recipe: MixtureRecipe, rng: np.random.Generator) -> RoomResponse:
    """A room of its own for a mixture, with a place for each talker and one for the noise."""
    assert recipe.room is not None
    return impulse_responses(draw_room(recipe.room, recipe.n_speakers + 1, rng), recipe.sample_rate)


class Mixer:
    """Draws mixtures from speech, noise and rooms.

    speech, noise: what may be heard (noise may be None where no recipe asks for it); mixtures: the recipes
    and their shares; seed: with an index, it defines each mixture alone; draw_room: where rooms come from.
    Raises CorpusError where there are fewer speakers than talkers, or no noise where one is asked for.
    """

    def __init__(
        self,
        speech: Corpus,
        noise: Corpus | None,
        mixtures: Mixtures,
        audio: DecodedAudio,
        seed: int = 0,
        draw_room: DrawRoom = simulated_room,
    ) -> None:
        most = max(part.recipe.n_speakers for part in mixtures)
        if len(speech.names) < most:
            raise CorpusError(
                f"mixtures of {most} talkers need {most} speakers, "
                f"but there is only {', '.join(speech.names) or 'nobody'}"
            )
        if min(part.first for part in mixtures) > 0:
            raise CorpusError("no part of the mixtures begins with the first one: set first: 0 for one of them")
        if any(part.recipe.noise_snr_db is not None for part in mixtures) and not (noise and noise.names):
            raise CorpusError(
                "the recipe asks for noise, but there is none (left in the split): "
                "give a folder of noises, or set noise_snr_db: null"
            )
        self.speech, self.noise, self.mixtures = speech, noise, mixtures
        self.audio, self.seed, self.draw_room = audio, seed, draw_room

    def __call__(self, index: int) -> Mixture:
        """Mixture number ``index``: the same for the same seed, whatever was drawn before."""
        rng = np.random.default_rng([self.seed, index])
        parts = [part for part in self.mixtures if part.first <= index]
        shares = np.array([part.share for part in parts])
        return self._draw(parts[int(rng.choice(len(parts), p=shares / shares.sum()))].recipe, rng)

    def _draw(self, recipe: MixtureRecipe, rng: np.random.Generator) -> Mixture:
        n_samples = round(recipe.duration_s * recipe.sample_rate)
        overlap_ratio = float(rng.uniform(*recipe.overlap_ratio)) if recipe.n_speakers > 1 else 0.0
        starts, length = overlap_layout(n_samples, overlap_ratio, recipe.n_speakers)
        speakers = [str(name) for name in rng.choice(self.speech.names, recipe.n_speakers, replace=False)]
        levels_db = tuple(float(rng.uniform(*recipe.level_db)) for _ in speakers[1:])

        dry = np.zeros((recipe.n_speakers, n_samples), np.float32)
        talkers = []
        for row, speaker, start, level_db in zip(dry, speakers, starts, (0.0, *levels_db), strict=True):
            utterance, files = self._utterance(speaker, length, rng)
            if rng.random() < recipe.low_pass.talker_share:
                utterance = _low_pass(utterance, _cutoff_hz(recipe.low_pass, rng), recipe.sample_rate)
            row[start : start + length] = at_level(utterance, -level_db)
            talkers.append(Talker(speaker, files, start, length))

        noise, noise_name, snr_db = np.zeros(n_samples, np.float32), None, None
        if recipe.noise_snr_db is not None:
            snr_db = float(rng.uniform(*recipe.noise_snr_db))
            noise_name, noise = self._noise(n_samples, rng)
            speech_db = 20 * np.log10(rms(dry.sum(0)))
            noise = at_level(noise, float(speech_db) - snr_db)

        dry_signals = np.stack([*dry, noise])
        if rng.random() < recipe.low_pass.mixture_share:
            dry_signals = _low_pass(dry_signals, _cutoff_hz(recipe.low_pass, rng), recipe.sample_rate)
        signals, room = dry_signals, None
        if recipe.room is not None:
            response = self.draw_room(recipe, rng)
            signals, room = _in_room(dry_signals, response), response.room
        facts = Facts(overlap_ratio, levels_db, snr_db, tuple(talkers), noise_name, room)
        return _mix(signals, dry_signals, facts)

    def _utterance(self, speaker: str, length: int, rng: np.random.Generator) -> tuple[Samples, tuple[str, ...]]:
        """A stretch of one speaker's speech; short files are joined until it is long enough."""
        paths = self.speech.recordings[speaker]
        for _ in range(EXCERPT_TRIES):
            chosen: list[Path] = []
            parts: list[Samples] = []
            while sum(part.size for part in parts) < length:
                path = paths[int(rng.integers(len(paths)))]
                part = self.audio(path)
                if part.size == 0:
                    raise CorpusError(f"{path}: holds no samples; remove it from the speech folder")
                chosen.append(path)
                parts.append(part)
            joined = np.concatenate(parts)
            offset = int(rng.integers(joined.size - length + 1))
            utterance = joined[offset : offset + length]
            if rms(utterance) > SILENCE:
                return utterance, tuple(str(path) for path in chosen)
        raise CorpusError(f"speaker {speaker}: found only silence in {EXCERPT_TRIES} excerpts")

    def _noise(self, n_samples: int, rng: np.random.Generator) -> tuple[str, Samples]:
        """A stretch of one noise, repeated where it is shorter than the mixture."""
        assert self.noise is not None
        for _ in range(EXCERPT_TRIES):
            name = self.noise.names[int(rng.integers(len(self.noise.names)))]
            paths = self.noise.recordings[name]
            noise = self.audio(paths[int(rng.integers(len(paths)))])
            if noise.size == 0 or rms(noise) <= SILENCE / 10:
                continue
            offset = int(rng.integers(max(1, noise.size - n_samples + 1)))
            excerpt = np.resize(noise[offset:], n_samples)
            if rms(excerpt) > 0:
                return name, excerpt
        raise CorpusError(f"found only silence in {EXCERPT_TRIES} noises")


def overlap_layout(n_samples: int, overlap_ratio: float, n_speakers: int) -> tuple[list[int], int]:
    """When each talker starts, and the length of every utterance, in samples (PAPER: data).

    For two talkers each utterance has n / (2 - r) samples; the first starts at 0, the second ends with the
    mixture, so that they fill it and share a fraction r of one utterance. More talkers follow one another in
    the same way.
    """
    last = n_speakers - 1
    length = round(n_samples / (1 + last * (1 - overlap_ratio)))
    return [round((n_samples - length) * talker / max(last, 1)) for talker in range(n_speakers)], length


def rms(signal: Samples) -> float:
    """Root mean square over all samples."""
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def at_level(signal: Samples, level_db: float) -> Samples:
    """The signal scaled to an RMS of ``level_db`` (dB, full scale 1)."""
    return signal * np.float32(10 ** (level_db / 20) / rms(signal))


def _in_room(dry: Samples, response: RoomResponse) -> Samples:
    """Each signal of (signals, samples) as it arrives at the microphone, cut to the same length."""
    heard = [oaconvolve(one, path) for one, path in zip(dry, response.responses, strict=True)]
    return np.stack([one[: dry.shape[1]] for one in heard]).astype(np.float32)


def _mix(signals: Samples, dry: Samples, facts: Facts) -> Mixture:
    """Sum talkers and noise (the last row of each)."""
    signals, dry = _at_peak(signals), _at_peak(dry)
    return Mixture(signals.sum(0), signals[:-1], signals[-1], dry[:-1], dry[-1], facts)


def _at_peak(signals: Samples) -> Samples:
    """All signals at one gain, with which the loudest of them and of their sum peaks at PEAK."""
    return signals * np.float32(PEAK / max(float(np.abs(signals.sum(0)).max()), float(np.abs(signals).max())))


def _cutoff_hz(recipe: LowPassRecipe, rng: np.random.Generator) -> float:
    return float(rng.uniform(*recipe.cutoff_hz))


def _low_pass(signals: Samples, cutoff_hz: float, sample_rate: int) -> Samples:
    """Linear-phase low pass with a transition of 5 % of the cutoff, over the last axis."""
    n_samples = signals.shape[-1]
    frequencies = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    slope = np.clip((cutoff_hz - frequencies) / (0.05 * cutoff_hz) + 0.5, 0, 1)
    filtered = np.fft.irfft(np.fft.rfft(signals) * slope, n_samples)
    return filtered.astype(np.float32)
