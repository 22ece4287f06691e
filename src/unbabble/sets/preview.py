"""A page on which mixtures are heard and seen: one HTML file that needs nothing else."""

import math
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from unbabble.mixing.plan import Plan
from unbabble.mixing.render import EARLY_S, Mixture
from unbabble.mixing.signals import Samples
from unbabble.output import write_whole

COLUMNS = 600  # of a spectrogram, however long the mixture is
WINDOW = 400  # samples; gives WINDOW // 2 + 1 rows
RANGE_DB = 70  # below the loudest point of a section
COLOUR_MAP = "magma"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito's, safest first
TARGETS = {
    "reverberant": "all that arrives of each talker, reverberation included",
    "early": f"what arrives of each talker within {EARLY_S * 1000:.0f} ms of the direct sound",
    "direct": "the direct sound of each talker alone",
}

Power = NDArray[np.float64]  # (frequencies from 0 to half the sample rate, COLUMNS)


@dataclass(frozen=True)
class Signal:
    """What a player and a picture hold, both base64."""

    flac: str
    png: str


@dataclass(frozen=True)
class Section:
    """One mixture as the template shows it. signals: the mixture, its sources in order, the noise if any."""

    id: str
    plan: Plan
    signals: tuple[Signal, ...]

    @property
    def seconds(self) -> float:
        return self.plan.n_samples / self.plan.sample_rate

    @property
    def ticks(self) -> list[float]:
        """Round times from 0 to the end, in seconds."""
        ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, self.seconds)
        return [float(tick) for tick in ticks if 0 <= tick <= self.seconds]

    @property
    def distances(self) -> list[float]:
        """From the microphone to each talker in order, then to the noise, in metres; empty without a room."""
        room = self.plan.room
        return [math.dist(source, room.microphone_m) for source in room.sources_m] if room else []


def write_preview(mixtures: Iterable[tuple[str, Mixture]], path: Path, title: str) -> None:
    """Write a page with a section for each mixture, which comes with its id. Raises OutputError."""
    environment = Environment(
        loader=PackageLoader("unbabble.sets", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("preview.html.jinja").render(
        title=title,
        sections=[_section(id, mixture) for id, mixture in mixtures],
        colours=COLOURS,
        targets=TARGETS,
        range_db=RANGE_DB,
        scale=[to_hex(colour) for colour in colormaps[COLOUR_MAP](np.linspace(0, 1, 9))],
    )
    write_whole(path, page.encode())


def _section(id: str, mixture: Mixture) -> Section:
    plan = mixture.plan
    heard = [mixture.mixture, *mixture.sources, *([mixture.noise] if plan.noise else [])]
    powers = [_power(samples) for samples in heard]
    loudest = max(power.max() for power in powers) or 1.0
    signals = tuple(
        Signal(_flac(samples, plan.sample_rate), _png(power / loudest))
        for samples, power in zip(heard, powers, strict=True)
    )
    return Section(id, plan, signals)


def _power(samples: Samples) -> Power:
    """Mean power spectra of as many stretches of (samples,) as there are columns."""
    centred = np.lib.stride_tricks.sliding_window_view(np.pad(samples, WINDOW // 2), WINDOW)
    starts = np.arange(COLUMNS) * samples.size // COLUMNS
    stops = np.maximum(np.append(starts[1:], samples.size), starts + 1)
    taper = np.hanning(WINDOW)
    columns = [
        np.square(np.abs(np.fft.rfft(centred[start : stop : WINDOW // 2] * taper))).mean(0)
        for start, stop in zip(starts, stops, strict=True)
    ]
    return np.stack(columns, axis=1)


def _flac(samples: Samples, sample_rate: int) -> str:
    file = BytesIO()
    soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return b64encode(file.getvalue()).decode()


def _png(power: Power) -> str:
    """A picture of power relative to the loudest point; each of its colours stands for one dB."""
    levels_db = 10 * np.log10(np.maximum(power, 10 ** (-RANGE_DB / 10)))
    picture = Image.fromarray(np.rint(levels_db[::-1] + RANGE_DB).astype(np.uint8))  # the top row is the first
    picture.putpalette(colormaps[COLOUR_MAP](np.linspace(0, 1, RANGE_DB + 1), bytes=True)[:, :3].tobytes())
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode()
