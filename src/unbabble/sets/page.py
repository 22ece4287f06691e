"""What pages are made of: signals that are heard and seen, in one HTML file that needs nothing else."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from unbabble.mixing.signals import Samples

COLUMNS = 600  # of a spectrogram, however long the signal is
WINDOW = 400  # samples; gives WINDOW // 2 + 1 rows
RANGE_DB = 70  # below the loudest point of the signals shown together
COLOUR_MAP = "magma"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito's, safest first

Power = NDArray[np.float64]  # (frequencies from 0 to half the sample rate, COLUMNS)


@dataclass(frozen=True)
class Signal:
    """What a player and a picture hold, both base64."""

    flac: str
    png: str


@dataclass(frozen=True)
class Signals:
    """Signals of one length, with pictures on one scale of colours."""

    sample_rate: int
    n_samples: int
    all: tuple[Signal, ...]

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate

    @property
    def ticks(self) -> list[float]:
        """Round times from 0 to the end, in seconds."""
        return round_numbers(0, self.seconds, 8)


def show(signals: Sequence[Samples], sample_rate: int) -> Signals:
    """Players and pictures of signals, each (samples,), which are compared in loudness."""
    powers = [power_of(samples) for samples in signals]
    loudest = max(power.max() for power in powers) or 1.0
    shown = tuple(
        Signal(_flac(samples, sample_rate), _png(power / loudest))
        for samples, power in zip(signals, powers, strict=True)
    )
    return Signals(sample_rate, signals[0].size, shown)


def fill(template: str, **values: Any) -> bytes:
    """The page that a template of the package becomes, such as ``sets/preview.html.jinja``."""
    environment = Environment(
        loader=PackageLoader("unbabble", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        colours=COLOURS,
        range_db=RANGE_DB,
        scale=[to_hex(colour) for colour in colormaps[COLOUR_MAP](np.linspace(0, 1, 9))],
    )
    return environment.get_template(template).render(**values).encode(errors="backslashreplace")


def round_numbers(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``, for an axis."""
    ticks = MaxNLocator(count, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def power_of(samples: Samples) -> Power:
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
