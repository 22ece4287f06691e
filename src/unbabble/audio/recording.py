"""An open recording, and what its samples must be to be separated."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble.errors import AudioError

Samples = NDArray[np.float32]

RATES_HZ = (8_000, 192_000)
MOST_CHANNELS = 512  # FFmpeg knows no more
SHORTEST_S = 0.025
LOUDEST = 1e8  # full scale is 1; 24-bit numbers stored as floats may pass
UNDOUBTED_S, FEWEST_BYTES_A_SECOND = 1800.0, 32  # how long a file may be for its size; speech codecs need more
BLOCK = 1 << 16  # samples of all channels together
TAGS = frozenset({"title", "artist", "album", "date", "genre", "comment", "copyright", "tracknumber"})
LONGEST_TAG = 1000  # characters


@dataclass(frozen=True)
class Recording:
    """An open recording.

    Attributes
    ----------
    sample_rate
        In Hz.
    n_channels
        Of every block.
    duration_s
        In seconds, as far as the header tells; an estimate for some formats.
    blocks
        (channels, samples) of full scale 1, once, in order.
    tags
        What the file says of itself: some of ``TAGS``.
    """

    sample_rate: int
    n_channels: int
    duration_s: float | None
    blocks: Iterator[Samples]
    tags: dict[str, str] = field(default_factory=dict)


def check_numbers(samples: NDArray[np.floating[Any]], source: str = "") -> None:
    """Refuse samples that are not finite, or far beyond full scale.

    Parameters
    ----------
    samples
        Of any shape, full scale 1.
    source
        Begins the error.

    Raises
    ------
    AudioError
    """
    if not np.isfinite(samples).all():
        raise AudioError(f"{source}NaN or infinite samples; expected numbers of about -1 to 1; export it again")
    if samples.size and np.abs(samples).max() > LOUDEST:
        raise AudioError(f"{source}levels far beyond full scale; expected samples of about -1 to 1; scale it down")


def known_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of TAGS that say anything, as one line each."""
    texts = ((name.lower(), " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())) for name, text in tags.items())
    return {name: text[:LONGEST_TAG] for name, text in texts if name in TAGS and text}


def checked(recording: Recording, name: str, n_bytes: Callable[[], float], max_hours: float | None) -> Recording:
    """Check a recording: sample rate and channels at once, the blocks as they come.

    Parameters
    ----------
    recording
        As it was opened.
    name
        Begins errors.
    n_bytes
        Tells the size of the file, or of what has come so far.
    max_hours
        How long it may be; None: half an hour, or a second for every 32 bytes where that is more. An edit list can
        make hours of a few bytes.

    Raises
    ------
    AudioError
        Here or while the blocks are read.
    """
    if not RATES_HZ[0] <= recording.sample_rate <= RATES_HZ[1]:
        raise AudioError(f"{name}: sample rate {recording.sample_rate} Hz; expected 8 to 192 kHz; resample it first")
    if not 1 <= recording.n_channels <= MOST_CHANNELS:
        raise AudioError(
            f"{name}: {recording.n_channels} usable channels; expected 1 to {MOST_CHANNELS}; copy out a few"
        )
    blocks = _bounded(recording.blocks, recording.sample_rate, name, n_bytes, max_hours)
    return replace(recording, blocks=_checked(blocks, name))


def cut_short(name: str, found: str) -> AudioError:
    """The error for a recording of which something is missing or wrong."""
    return AudioError(
        f"{name}: damaged or cut short ({found}); copy or download it again, or convert what is left to wav"
    )


def no_samples(name: str) -> AudioError:
    """The error for a recording in which there is nothing."""
    return AudioError(
        f"{name}: holds no samples; expected at least {SHORTEST_S * 1000:.0f} ms of audio; record it again"
    )


def _bounded(
    blocks: Iterator[Samples], sample_rate: int, name: str, n_bytes: Callable[[], float], max_hours: float | None
) -> Iterator[Samples]:
    """Pass blocks on, until there are more than may be."""
    n_seen = 0
    for block in blocks:
        n_seen += block.shape[1]
        size = n_bytes()
        longest_s = max(UNDOUBTED_S, size / FEWEST_BYTES_A_SECOND) if max_hours is None else 3600 * max_hours
        if n_seen > longest_s * sample_rate:
            within = "" if max_hours is not None else f" in {size / 1000:.0f} kB"
            raise AudioError(
                f"{name}: more than {longest_s / 3600:.3g} h of sound{within}; expected no more; "
                "if it is meant to be so long, allow it with --max-hours (in Python: max_hours)"
            )
        yield block


def _checked(blocks: Iterator[Samples], name: str) -> Iterator[Samples]:
    """Pass blocks on; an empty recording and samples that are no numbers as AudioError."""
    n_seen = 0
    for block in blocks:
        check_numbers(block, f"{name}: ")
        n_seen += block.shape[1]
        yield block
    if n_seen == 0:
        raise no_samples(name)
