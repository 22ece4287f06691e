"""Recordings through pipes, as programs write them: headers without lengths, raw samples, nothing at all."""

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from audio_files import LOSSLESS, Unseekable, streamed, write_format
from conftest import tone

from unbabble.audio import RawFormat, open_stream
from unbabble.audio.write import sample_bytes
from unbabble.errors import AudioError

THROUGH_PIPES = [
    *("16.wav", "24.wav", "float.wav", "double.wav", "long.rf64", "16.flac", "16.aiff", "16.au", "pcm.mkv"),
    *("vorbis.ogg", "speech.opus", "speech.mp3", "raw.aac", "video.webm", "video.ts", "speech.wma"),
]


def through_pipe(data: bytes, raw: RawFormat | None = None, step: int = 1000):
    """Samples (channels, samples) and sample rate of what a slow writer puts into a pipe."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as pipe:
            for start in range(0, len(data), step):
                try:
                    pipe.write(data[start : start + step])
                except BrokenPipeError:
                    return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with os.fdopen(reader, "rb") as pipe, open_stream(pipe, raw) as recording:
            return np.concatenate(list(recording.blocks), axis=1), recording.sample_rate
    finally:
        thread.join()


@pytest.mark.parametrize("name", THROUGH_PIPES)
def test_files_come_through_pipes(tmp_path, name):
    path = write_format(tmp_path, name, tone(2.0, 48000), 48000)
    samples, rate = through_pipe(path.read_bytes())
    assert rate == 48000
    assert samples.shape[1] == pytest.approx(96000, abs=2400)
    if name in LOSSLESS:
        np.testing.assert_allclose(samples[0], tone(2.0, 48000), atol=1e-4)
    assert np.argmax(np.abs(np.fft.rfft(samples[0, 24000:72000]))) == 440


@pytest.mark.parametrize(
    ("codec", "container"), [("pcm_s16le", "wav"), ("pcm_f32le", "wav"), ("flac", "flac"), ("pcm_s16be", "au")]
)
def test_headers_without_a_length(codec, container):
    samples, _ = through_pipe(streamed(tone(2.0, 48000), 48000, codec, container))
    np.testing.assert_allclose(samples[0], tone(2.0, 48000), atol=1e-4)


@pytest.mark.parametrize("name", ["16.wav", "16.flac", "16.aiff", "vorbis.ogg", "video.webm", "speech.tta"])
def test_what_is_missing_at_the_end_is_told(tmp_path, name):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 480000).astype(np.float32)
    whole = write_format(tmp_path, name, noise, 48000).read_bytes()
    with pytest.raises(AudioError, match="standard input: damaged or cut short"):
        through_pipe(whole[: len(whole) * 6 // 10], step=10_000)


def test_what_follows_the_samples_is_taken_from_the_pipe(tmp_path):
    """A writer whose last bytes nobody reads would end in an error."""
    data = (
        write_format(tmp_path, "16.wav", tone(0.1), 16000).read_bytes()
        + b"LIST"
        + bytes([0, 0, 2, 0])
        + bytes(1 << 17)
    )
    pipe = Unseekable(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    with open_stream(pipe) as recording:
        assert sum(block.shape[1] for block in recording.blocks) == 1600
    assert pipe.read() == b""


@pytest.mark.parametrize(
    ("sample_format", "bits", "tolerance"),
    [("s16le", 16, 2**-16), ("s24le", 24, 2**-24), ("f32le", 32, 0)],
)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_raw_samples(sample_format, bits, tolerance, n_channels):
    channels = np.stack([tone(1.0, hertz=440 * (1 + index)) for index in range(n_channels)])
    raw = RawFormat(16000, n_channels, sample_format)
    samples, rate = through_pipe(sample_bytes(channels, bits), raw, step=777)
    assert rate == 16000
    np.testing.assert_allclose(samples, channels, atol=tolerance + 1e-12)


def test_raw_integers_of_32_bits():
    data = (tone(1.0).astype(np.float64) * 2**31).astype("<i4").tobytes()
    samples, _ = through_pipe(data, RawFormat(16000, 1, "s32le"))
    np.testing.assert_allclose(samples[0], tone(1.0), atol=1e-7)


@pytest.mark.parametrize(
    ("data", "raw", "found"),
    [
        (b"", None, "standard input: nothing came; .*check the program before the pipe"),
        (b"", RawFormat(16000), "holds no samples"),
        (b"hello " * 100, None, "not audio that can be decoded from a pipe"),
        (bytes(101), RawFormat(16000), "1 bytes follow the last whole frame of 2"),
        (bytes(100), RawFormat(10**9), "sample rate 1000000000 Hz; expected 8 to 192 kHz"),
        (bytes(100), RawFormat(16000, 0), "0 usable channels; expected 1 to 512"),
        (b"\0\0\xc0\x7f" * 25, RawFormat(16000, 1, "f32le"), "NaN or infinite samples"),
    ],
)
def test_what_is_wrong_is_told(data, raw, found):
    with pytest.raises(AudioError, match=found) as caught:
        through_pipe(data, raw)
    assert "\n" not in str(caught.value)


def test_an_input_that_can_seek_is_read_as_a_file(tmp_path):
    """As with `unbabble separate - < recording.m4a`, whose header stands at the end."""
    path = write_format(tmp_path, "alac.m4a", tone(1.0), 16000)
    with path.open("rb") as file, open_stream(file) as recording:
        samples = np.concatenate(list(recording.blocks), axis=1)
    np.testing.assert_allclose(samples[0], tone(1.0), atol=1e-4)


def test_blocks_come_before_the_writer_has_ended():
    """A live source: raw samples are given on as they arrive, a block at a time."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, open_stream(pipe, RawFormat(8000)) as recording:
        with os.fdopen(writer, "wb") as source:
            source.write(bytes(16000))
            source.flush()
            assert next(recording.blocks).shape == (1, 8000)
        assert list(recording.blocks) == []


def test_a_real_process_is_read(tmp_path):
    path = write_format(tmp_path, "24.flac", tone(2.0), 16000)
    script = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as process:
        with open_stream(process.stdout, name="the recorder") as recording:
            samples = np.concatenate(list(recording.blocks), axis=1)
        assert process.wait() == 0
    np.testing.assert_allclose(samples[0], tone(2.0), atol=1e-4)


def test_bytes_in_memory_are_a_stream_too(tmp_path):
    data = write_format(tmp_path, "16.wav", tone(1.0), 16000).read_bytes()
    with open_stream(io.BytesIO(data)) as recording:
        assert (recording.sample_rate, recording.duration_s) == (16000, 1.0)
        assert sum(block.shape[1] for block in recording.blocks) == 16000
