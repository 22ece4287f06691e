"""Every format in; what cannot be decoded is explained."""

import av
import numpy as np
import pytest
import soundfile
from conftest import tone

from unbabble.audio import open_recording, read_mono, resample
from unbabble.errors import AudioError


def encode(path, samples, rate, codec):
    """Write a mono file by PyAV, for the containers that soundfile does not write."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = rate
        converter = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        for piece in (*converter.resample(frame), *converter.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def every_format(tmp_path_factory):
    """A 440 Hz tone of 2 s at 48 kHz in each format."""
    root = tmp_path_factory.mktemp("formats")
    samples = tone(2.0, 48000)
    for suffix in ("wav", "flac", "mp3", "ogg"):
        soundfile.write(root / f"tone.{suffix}", samples, 48000)
    soundfile.write(root / "tone.opus", samples, 48000, format="OGG", subtype="OPUS")
    soundfile.write(root / "double.wav", samples.astype(np.float64), 48000, subtype="DOUBLE")
    encode(root / "tone.m4a", samples, 48000, "aac")
    encode(root / "tone.mp4", samples, 48000, "aac")
    encode(root / "tone.webm", samples, 48000, "libopus")
    return root


FORMATS = ["tone.wav", "tone.flac", "tone.mp3", "tone.ogg", "tone.opus", "double.wav", "tone.m4a", "tone.mp4"]


@pytest.mark.parametrize("name", [*FORMATS, "tone.webm"])
def test_every_format_is_decoded(every_format, name):
    samples = read_mono(every_format / name, 16000)
    assert samples.size == pytest.approx(2.0 * 16000, abs=2000)  # lossy codecs pad
    spectrum = np.abs(np.fft.rfft(samples[8000:24000]))
    assert np.argmax(spectrum) == 440
    assert np.abs(samples[8000:24000]).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("name", ["tone.wav", "tone.flac", "tone.mp3", "tone.m4a", "tone.mp4"])
def test_a_truncated_file_is_reported(every_format, tmp_path, name):
    whole = (every_format / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(AudioError, match="cut short"):
        read_mono(path, 16000)


def test_a_wav_that_was_streamed_and_declares_no_length_is_read(every_format, tmp_path):
    data = bytearray((every_format / "tone.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "piped.wav").write_bytes(data)
    assert read_mono(tmp_path / "piped.wav", 16000).size == 32000


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([tone(0.5), np.zeros(8000, np.float32)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_mono(tmp_path / "stereo.wav", 16000), stereo[:, 0] / 2, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, bad):
    samples = tone(0.5)
    samples[100] = bad
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"bad\.wav: NaN or infinite"):
        read_mono(tmp_path / "bad.wav", 16000)


def test_what_is_no_audio_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("dear diary, " * 100)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "slow.wav", np.zeros(4000), 4000)
    for name, told in {
        "text.wav": "not audio",
        "empty.wav": "empty",
        "none.wav": "no samples",
        "slow.wav": "sample rate 4000 Hz; expected 8 to 192 kHz",
        "folder.wav": "a folder; expected an audio file",
        "missing.wav": "no such file",
    }.items():
        with pytest.raises(AudioError, match=told) as caught:
            read_mono(tmp_path / name, 16000)
        assert name in str(caught.value)


def test_a_video_without_sound_is_refused(tmp_path):
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no sound"), open_recording(path):
        pass


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_resampling_in_blocks_equals_resampling_at_once(rate):
    samples = tone(1.0, rate)[np.newaxis]
    blocks = np.array_split(samples, 7, axis=1)
    there = np.concatenate(list(resample(blocks, rate, 16000)), axis=1)
    at_once = np.concatenate(list(resample([samples], rate, 16000)), axis=1)
    np.testing.assert_allclose(there, at_once, atol=1e-6)
    assert there.shape[1] == pytest.approx(16000, abs=1)
