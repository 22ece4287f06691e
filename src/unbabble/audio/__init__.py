"""Decode any file or stream block by block, resample, write."""

from unbabble.audio.decode import (
    AUDIO_SUFFIXES,
    RawFormat,
    check_end,
    declares_length,
    open_recording,
    open_stream,
    read_mono,
)
from unbabble.audio.filters import Downmix, HighPass, Resampler, resample, to_mono
from unbabble.audio.recording import RATES_HZ, SHORTEST_S, Recording, Samples, check_numbers
from unbabble.audio.write import TRACK_BITS, TrackFormat, TrackWriter, WavFile

__all__ = [
    "AUDIO_SUFFIXES",
    "RATES_HZ",
    "SHORTEST_S",
    "TRACK_BITS",
    "Downmix",
    "HighPass",
    "RawFormat",
    "Recording",
    "Resampler",
    "Samples",
    "TrackFormat",
    "TrackWriter",
    "WavFile",
    "check_end",
    "check_numbers",
    "declares_length",
    "open_recording",
    "open_stream",
    "read_mono",
    "resample",
    "to_mono",
]
