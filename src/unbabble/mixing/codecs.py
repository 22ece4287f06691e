"""What lossy codecs make of a signal (FFmpeg's, by PyAV)."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import av
import numpy as np
import soxr

from unbabble.mixing.plan import Codec
from unbabble.mixing.signals import Samples


@dataclass(frozen=True)
class Coding:
    """How a codec is run. container: its header says what the encoder adds at both ends, for the decoder to drop."""

    encoder: str
    container: str
    rates: tuple[int, ...]  # Hz, rising; others are resampled to the next above


CODINGS = {
    "mp3": Coding("libmp3lame", "mp3", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "opus": Coding("libopus", "ogg", (16000, 24000, 48000)),  # at 8000 its band is 4 kHz and comes out 0.1 ms late
}


def coded(samples: Samples, codec: Codec, sample_rate: int) -> Samples:
    """Encoded and decoded: (samples,) -> (samples,), in step to the sample, clipped at full scale as players do."""
    coding = CODINGS[codec.name]
    rate = next((rate for rate in coding.rates if rate >= sample_rate), coding.rates[-1])
    file = _encoded(soxr.resample(samples, sample_rate, rate), coding, codec.kbps, rate)
    heard = soxr.resample(*_decoded(file), sample_rate)[: samples.size]
    return np.pad(heard, (0, samples.size - heard.size)).clip(-1, 1)


def _encoded(samples: Samples, coding: Coding, kbps: float, rate: int) -> BytesIO:
    file = BytesIO()
    with av.open(file, "w", format=coding.container) as container:
        stream: Any = container.add_stream(coding.encoder, rate=rate, layout="mono")
        stream.bit_rate = round(1000 * kbps)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])
    file.seek(0)
    return file


def _decoded(file: BytesIO) -> tuple[Samples, int]:
    """Samples (samples,) and their rate: that of the encoder, of Opus always 48 kHz."""
    with av.open(file, "r") as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        return np.concatenate(frames), container.streams.audio[0].rate
