"""A plan into sound: dry signals, then the room, then their sum, then a codec."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from unbabble.corpora.corpus import Corpus
from unbabble.corpora.decoded import DecodedAudio, Samples
from unbabble.errors import CorpusError
from unbabble.mixing.bank import Rooms
from unbabble.mixing.codecs import coded
from unbabble.mixing.plan import Noise, Plan, Stretch, Talker, samples_needed
from unbabble.mixing.rooms import Response, direct_responses, early
from unbabble.mixing.signals import at_level, band_pass, convolve, peak_gain, rms


@dataclass(frozen=True)
class Mixture:
    """What a plan sounds like, float32, full scale 1.

    mixture (samples,) = what is heard of sources (talkers, samples) + noise (samples,): their sum where the
    target is reverberant and the plan has no codec, which only the mixture goes through. dry_sources, dry_noise:
    the same before the room, at a common gain of their own.
    """

    mixture: Samples
    sources: Samples
    noise: Samples
    dry_sources: Samples
    dry_noise: Samples
    plan: Plan


class Renderer:
    """Renders plans whose recordings are in ``speech`` and ``noise``. Raises CorpusError, AudioError."""

    def __init__(self, speech: Corpus, noise: Corpus | None, audio: DecodedAudio, rooms: Rooms) -> None:
        self.speech, self.noise, self.audio, self.rooms = speech, noise, audio, rooms

    def __call__(self, plan: Plan) -> Mixture:
        dry = self.dry(plan)
        heard, targets = dry, dry
        if plan.room is not None:
            responses = _of_plan(plan, self.rooms.responses(plan.room))
            heard = convolve(dry, responses)
            targets = heard if plan.target == "reverberant" else convolve(dry, target_responses(plan, responses))
        gain, dry_gain = peak_gain(heard), peak_gain(dry)
        mixture = heard.sum(0) * gain
        if plan.codec is not None:
            mixture = coded(mixture, plan.codec, plan.sample_rate)
        return Mixture(mixture, targets[:-1] * gain, heard[-1] * gain, dry[:-1] * dry_gain, dry[-1] * dry_gain, plan)

    def dry(self, plan: Plan) -> Samples:
        """Talkers and noise (the last row) at their levels, before the room: (talkers + 1, samples)."""
        signals = np.zeros((len(plan.talkers) + 1, plan.n_samples), np.float32)
        for row, talker in zip(signals, plan.talkers, strict=False):
            self._speak(talker, plan.sample_rate, row)
        if plan.noise is not None:
            noise = self._noise(plan.noise, plan.n_samples)
            spoken = rms(signals.sum(0)) or 1.0
            signals[-1] = at_level(noise, 20 * math.log10(spoken) - plan.noise.snr_db)
        if plan.cutoff_hz is None:
            return signals
        return band_pass(signals, plan.lower_hz, plan.cutoff_hz, plan.sample_rate)

    def _speak(self, talker: Talker, sample_rate: int, row: Samples) -> None:
        """Put what one talker says into (samples,), at the talker's level while talking."""
        said = [self._said(stretch, talker.speed) for stretch in talker.stretches]
        if not said:
            return
        whole = np.concatenate(said)
        if talker.cutoff_hz is not None:
            whole = band_pass(whole, 0, talker.cutoff_hz, sample_rate)
        whole = at_level(whole, talker.level_db)
        ends = np.cumsum([stretch.length for stretch in talker.stretches])[:-1]
        for stretch, piece in zip(talker.stretches, np.split(whole, ends), strict=True):
            row[stretch.at : stretch.at + stretch.length] = piece

    def _said(self, stretch: Stretch, speed: float) -> Samples:
        path, length = self.speech.find(stretch.recording).path, stretch.length
        n_needed = samples_needed(length, speed)
        samples = self.audio.read(path, stretch.start, n_needed)
        if samples.size < n_needed:
            raise CorpusError(
                f"{path}: ends at {stretch.start + samples.size} samples, but the mixture is made of samples "
                f"{stretch.start} to {stretch.start + n_needed} at {self.audio.sample_rate} Hz; "
                "expected the recording that the mixture was drawn from, whole"
            )
        if speed == 1:
            return samples
        faster = soxr.resample(samples, speed, 1, quality="HQ")[:length]
        return np.pad(faster, (0, length - faster.size))  # rounding may leave it a sample short

    def _noise(self, noise: Noise, n_samples: int) -> Samples:
        if self.noise is None:
            raise CorpusError(f"the mixture is made with the noise {noise.recording}; give a folder of noises")
        path = self.noise.find(noise.recording).path
        samples = self.audio.read(path, noise.start, n_samples)
        if samples.size == 0:
            raise CorpusError(f"{path}: ends before sample {noise.start}, where the noise of the mixture begins")
        return np.resize(samples, n_samples)


def target_responses(plan: Plan, responses: Sequence[Response]) -> list[Response]:
    """What of the responses belongs to the target: all, the early part, or the direct sound; all of the noise's."""
    *talkers, noise = responses
    if plan.room is None or plan.target == "reverberant":
        return list(responses)
    if plan.target == "direct":
        return [*direct_responses(plan.room, plan.sample_rate)[: len(talkers)], noise]
    return [*(early(one, plan.room, source, plan.sample_rate) for source, one in enumerate(talkers)), noise]


def _of_plan(plan: Plan, responses: Sequence[Response]) -> list[Response]:
    """Those of the talkers, in order, and of the noise; a room of a bank may hold more places than needed."""
    return [*responses[: len(plan.talkers)], responses[-1]]
