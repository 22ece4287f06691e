"""What the page shows and plays: the mixture and the tracks side by side, as lanes of one length."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from unbabble.audio import Downmix, TrackFormat, TrackWriter, open_recording
from unbabble.base.output import whole_file, writing

PEAKS_HZ = 100  # peaks a second that are kept
BLOCK_S = 10
FLOOR_DB, CEILING_DB = -78.0, -28.0  # power of a band that is shown as nothing, and as all there is
WINDOW_S = 0.04
COLUMNS_AT_ONCE = 256
FULL_SCALE = 32767

Integers = NDArray[np.int16]


def write_mixture(source: Path, path: Path, channel: int | None, max_hours: float) -> None:
    """Write what was separated as a wav of 16 bits. channel: the first is 0, None is the average of all."""
    downmix = Downmix(channel)
    with (
        whole_file(path) as place,
        open_recording(source, max_hours) as recording,
        TrackWriter([place], recording.sample_rate, TrackFormat("wav", 16)) as writer,
    ):
        for block in recording.blocks:
            writer.write(downmix.push(block))


def write_peaks(lanes: Sequence[Path], path: Path) -> None:
    """Write the least and the largest sample of each lane, 100 times a second: int16 (lanes, peaks, 2)."""
    with ExitStack() as stack:
        files = [stack.enter_context(soundfile.SoundFile(lane)) for lane in lanes]
        step = files[0].samplerate / PEAKS_HZ
        count = int(np.ceil(files[0].frames / step))
        edges = np.round(np.arange(count + 1) * step).astype(np.int64)
        peaks = np.zeros((len(files), count, 2), np.int16)
        for first in range(0, count, BLOCK_S * PEAKS_HZ):
            inside = edges[first : first + BLOCK_S * PEAKS_HZ + 1]
            for lane, file in enumerate(files):
                samples = as_integers(file.read(inside[-1] - inside[0], dtype="float32"))
                peaks[lane, first : first + len(inside) - 1] = least_and_largest(samples, inside - inside[0])
    with whole_file(path) as place, writing(path), place.open("wb") as file:
        np.save(file, peaks, allow_pickle=False)


def least_and_largest(samples: Integers, edges: NDArray[np.int64]) -> Integers:
    """Of the samples between each edge and the next: (samples,), (n + 1,) -> (n, 2); past the end it is silent."""
    if not len(samples):
        return np.zeros((len(edges) - 1, 2), np.int16)
    starts = np.minimum(edges[:-1], len(samples) - 1)
    return np.stack([np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)], axis=1)


def as_integers(samples: NDArray[np.float32]) -> Integers:
    """Floats of full scale 1, clipped."""
    return np.asarray(np.rint(np.clip(samples, -1, 1) * FULL_SCALE), np.int16)


def read_peaks(path: Path, start_s: float, end_s: float, columns: int) -> Integers:
    """The least and the largest sample in each of so many equal stretches: (lanes, columns, 2)."""
    kept = np.load(path, mmap_mode="r", allow_pickle=False)
    n_kept = kept.shape[1]
    edges = np.linspace(start_s * PEAKS_HZ, end_s * PEAKS_HZ, columns + 1)
    starts = np.clip(np.floor(edges[:-1]), 0, n_kept - 1).astype(np.int64)
    part = np.asarray(kept[:, starts[0] : max(starts[-1] + 1, min(n_kept, int(np.ceil(edges[-1]))))])
    places = starts - starts[0]
    least = np.minimum.reduceat(part[..., 0], places, axis=1)
    return np.stack([least, np.maximum.reduceat(part[..., 1], places, axis=1)], axis=2)


def frame_bytes(lanes: Sequence[Path]) -> int:
    """The bytes of one moment, in which each lane has one sample of 16 bits."""
    return 2 * len(lanes)


def read_bytes(lanes: Sequence[Path], start: int, stop: int) -> Iterator[bytes]:
    """Bytes [start, stop) of all lanes as interleaved samples, 16-bit little-endian, block by block.

    So a player gets every stretch of all lanes in one piece, and they cannot come apart.
    """
    width = frame_bytes(lanes)
    with ExitStack() as stack:
        files = [stack.enter_context(soundfile.SoundFile(lane)) for lane in lanes]
        position, step = start // width, BLOCK_S * files[0].samplerate
        for file in files:
            file.seek(min(position, file.frames))
        while position * width < stop:
            n_frames = min(step, -(-stop // width) - position)
            block = np.zeros((n_frames, len(files)), "<i2")
            for lane, file in enumerate(files):
                samples = as_integers(file.read(n_frames, dtype="float32"))
                block[: len(samples), lane] = samples
            data, offset = block.tobytes(), position * width
            yield data[max(0, start - offset) : stop - offset]
            position += n_frames


def spectrogram(lane: Path, start_s: float, end_s: float, columns: int, rows: int) -> NDArray[np.uint8]:
    """Loudness over time and pitch, the lowest pitch first: (rows, columns) from 0 to 255.

    Rows are as wide as the ear hears (mel); a column is one window of 40 ms in the middle of its stretch.
    """
    decibels = np.empty((rows, columns), np.float32)
    with soundfile.SoundFile(lane) as file:
        n_window = 2 * round(WINDOW_S * file.samplerate / 2)
        window = np.hanning(n_window).astype(np.float32)
        bands = _bands(file.samplerate, n_window, rows) * 2 / (n_window * np.square(window).sum())
        seconds = start_s + (np.arange(columns) + 0.5) * (end_s - start_s) / columns
        starts = np.round(seconds * file.samplerate).astype(np.int64) - n_window // 2
        for first in range(0, columns, COLUMNS_AT_ONCE):
            part = slice(first, first + COLUMNS_AT_ONCE)
            frames = np.stack([_frame(file, start, n_window) for start in starts[part]])
            power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
            decibels[:, part] = 10 * np.log10(np.maximum(1e-12, bands @ power.T))
    return np.asarray(np.clip((decibels - FLOOR_DB) / (CEILING_DB - FLOOR_DB), 0, 1) * 255, np.uint8)


def _frame(file: soundfile.SoundFile, start: int, length: int) -> NDArray[np.float32]:
    """Samples from a place on, silence before the beginning and behind the end."""
    frame = np.zeros(length, np.float32)
    inside = max(0, start)
    if inside < min(file.frames, start + length):
        file.seek(inside)
        samples = file.read(start + length - inside, dtype="float32")
        frame[inside - start : inside - start + len(samples)] = samples
    return frame


def _bands(rate: int, n_window: int, rows: int) -> NDArray[np.float32]:
    """Triangles, evenly wide in mel from 0 Hz to 8 kHz or the highest that there is: (rows, bins)."""
    highest = min(8000.0, rate / 2)
    mels = np.linspace(0, 2595 * np.log10(1 + highest / 700), rows + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    width = rate / n_window  # of a bin: no triangle is narrower, so that each has something in it
    hertz = np.arange(n_window // 2 + 1) * width
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (hertz - middle) / np.maximum(middle - left, width) + 1
    falling = (middle - hertz) / np.maximum(right - middle, width) + 1
    return np.asarray(np.maximum(0, np.minimum(rising, falling)), np.float32)
