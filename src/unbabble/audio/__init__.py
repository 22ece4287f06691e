"""Decode any file or stream block by block, resample, write."""

from unbabble.audio.decode import (
    AUDIO_SUFFIXES,
    DECODE_ERRORS,
    check_end,
    declares_length,
    open_recording,
    read_mono,
)
from unbabble.audio.recording import (
    RATES_HZ,
    SHORTEST_S,
    TAGS,
    Recording,
    Samples,
    check_numbers,
    to_mono,
)
from unbabble.audio.resample import resample
from unbabble.audio.wav import WavFile
from unbabble.audio.write import TRACK_FORMATS, TrackFormat, TrackWriter, suffix_of, wav_to_flac

__all__ = [
    "AUDIO_SUFFIXES",
    "DECODE_ERRORS",
    "RATES_HZ",
    "SHORTEST_S",
    "TAGS",
    "TRACK_FORMATS",
    "Recording",
    "Samples",
    "TrackFormat",
    "TrackWriter",
    "WavFile",
    "check_end",
    "check_numbers",
    "declares_length",
    "open_recording",
    "read_mono",
    "resample",
    "suffix_of",
    "to_mono",
    "wav_to_flac",
]
