"""Talkers who are told apart by their pitch: noise, each in a band of frequencies, with pauses."""

from functools import cache

import numpy as np

BANDS_HZ = (200.0, 700.0), (1200.0, 3000.0)  # of the first and of the second talker
TURNS_S = ((0.2, 2.6), (3.4, 5.2), (6.0, 9.0), (10.4, 12.6)), ((1.4, 4.2), (5.6, 7.5), (8.2, 11.0))
LARGEST_ERROR = 0.005  # in power: where talkers begin and end, filters ring


@cache
def talk(rate: int, seconds: float = 13.0) -> np.ndarray:
    """The talkers by themselves, who begin one after the other: (talkers, samples)."""
    n_samples = round(seconds * rate)
    rng, hertz = np.random.default_rng(n_samples), np.fft.rfftfreq(n_samples, 1 / rate)
    sources = np.zeros((len(BANDS_HZ), n_samples), np.float32)
    for source, (lowest, highest), turns in zip(sources, BANDS_HZ, TURNS_S, strict=True):
        spectrum = np.fft.rfft(rng.standard_normal(n_samples)) * ((lowest < hertz) & (hertz < highest))
        noise = np.fft.irfft(spectrum, n_samples)
        for start, stop in turns:
            inside = slice(round(start * rate), round(stop * rate))
            source[inside] = 0.1 * noise[inside] / noise.std()
    return sources


def assert_separated(tracks: np.ndarray, sources: np.ndarray) -> None:
    """Every track is that of its talker: (talkers, samples), with not a sample too early or 5 % too loud."""
    assert tracks.shape == sources.shape
    assert sources.any()
    wrong, loudest = np.square(tracks - sources, dtype=float).sum(1), np.square(sources, dtype=float).sum(1).max()
    assert wrong.max() < LARGEST_ERROR * loudest
