"""What the page shows of lanes: on signals whose peaks and pitches are known."""

import numpy as np
import pytest
import soundfile
from conftest import RATE, tone

pytest.importorskip("fastapi")

from unbabble.serve import lanes


@pytest.fixture
def pair(tmp_path):
    """A ramp of a second and a half, up and down; and a tone that begins in its middle."""
    ramp = np.concatenate([np.linspace(0, 0.9, RATE), np.linspace(0, -0.5, RATE // 2)]).astype(np.float32)
    late = np.concatenate([np.zeros(RATE, np.float32), tone(0.5, hertz=1000)])
    for name, samples in (("ramp", ramp), ("late", late)):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
    return [tmp_path / "ramp.wav", tmp_path / "late.wav"], np.stack([ramp, late])


@pytest.mark.parametrize("columns", [1, 3, 150, 400])
def test_peaks_are_the_least_and_the_largest_of_their_time(pair, tmp_path, columns):
    paths, samples = pair
    lanes.write_peaks(paths, tmp_path / "peaks.npy")
    found = lanes.read_peaks(tmp_path / "peaks.npy", 0.0, 1.5, columns) / 32767
    assert found.shape == (2, columns, 2)
    step = RATE // 100
    for column in range(columns):
        first = int(column * 150 / columns) * step
        last = max(first + step, int(np.floor((column + 1) * 150 / columns)) * step)
        part = samples[:, first:last]
        np.testing.assert_allclose(found[:, column, 0], part.min(1), atol=1e-4)
        np.testing.assert_allclose(found[:, column, 1], part.max(1), atol=1e-4)


def test_peaks_past_the_end_and_of_odd_rates(tmp_path):
    soundfile.write(tmp_path / "odd.wav", np.full(11025 + 7, 0.5, np.float32), 11025, subtype="FLOAT")
    lanes.write_peaks([tmp_path / "odd.wav"], tmp_path / "peaks.npy")
    assert (lanes.read_peaks(tmp_path / "peaks.npy", 0, 1.0, 20) == round(0.5 * 32767)).all()
    assert lanes.read_peaks(tmp_path / "peaks.npy", 5.0, 9.0, 4).shape == (1, 4, 2)


def test_a_tone_is_where_its_pitch_is_and_when_it_sounds(pair):
    rows = 64
    found = lanes.spectrogram(pair[0][1], 0.0, 1.5, 30, rows)
    assert found.shape == (rows, 30)
    assert not found[:, :19].any()
    mel = 2595 * np.log10(1 + 1000 / 700) / (2595 * np.log10(1 + 8000 / 700))
    assert abs(int(found[:, 25].argmax()) + 1 - mel * (rows + 1)) <= 1
    assert found[:, 25].max() > 150
    assert found[-10:, 25].max() == 0
    assert not lanes.spectrogram(pair[0][1], 7.0, 8.0, 4, rows).any()


def test_bytes_of_any_part_are_those_of_the_whole(pair):
    paths, samples = pair
    whole = np.rint(np.clip(samples.T, -1, 1) * 32767).astype("<i2").tobytes()
    for start, stop in ((0, len(whole)), (0, 1), (5, 9), (RATE, RATE + 13), (len(whole) - 3, len(whole))):
        assert b"".join(lanes.read_bytes(paths, start, stop)) == whole[start:stop]


def test_long_lanes_come_in_blocks(tmp_path):
    samples = np.linspace(-1, 1, 25 * 8000, dtype=np.float32)
    soundfile.write(tmp_path / "long.wav", samples, 8000, subtype="FLOAT")
    blocks = list(lanes.read_bytes([tmp_path / "long.wav"], 0, 2 * len(samples)))
    assert len(blocks) == 3
    assert b"".join(blocks) == np.rint(samples * 32767).astype("<i2").tobytes()


def test_the_mixture_is_what_was_separated(tmp_path):
    left, right = tone(0.5), tone(0.5, hertz=700)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    for channel, expected in ((None, (left + right) / 2), (1, right)):
        lanes.write_mixture(tmp_path / "stereo.wav", tmp_path / "mixture.wav", channel, 1.0)
        np.testing.assert_allclose(soundfile.read(tmp_path / "mixture.wav")[0], expected, atol=1e-4)
