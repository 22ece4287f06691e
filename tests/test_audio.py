"""Every format in, as it was recorded; what a recording says of itself; another rate."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from audio_files import EVERY_FORMAT, LOSSLESS, RATES_HZ, encode, write_format
from conftest import tone

from unbabble.audio import Resampler, open_recording, read_mono, resample, to_mono
from unbabble.audio.recording import BLOCK, LONGEST_TAG


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_every_format_is_decoded(tmp_path, name):
    rate = RATES_HZ.get(name, 48000)
    path = write_format(tmp_path, name, tone(2.0, rate), rate)
    with open_recording(path) as recording:
        assert (recording.sample_rate, recording.n_channels) == (rate, 1)
        assert recording.duration_s is None or recording.duration_s == pytest.approx(2.0, abs=0.1)
        samples = np.concatenate(list(recording.blocks), axis=1)[0]
    assert samples.dtype == np.float32
    assert samples.size == pytest.approx(2.0 * rate, abs=0.05 * rate)  # lossy codecs pad, or begin late
    if name in LOSSLESS:
        np.testing.assert_allclose(samples, tone(2.0, rate), atol=1e-4)
    second = samples[rate // 2 : rate // 2 + rate]
    assert np.argmax(np.abs(np.fft.rfft(second))) == 440
    assert np.abs(second).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("name", ["24.wav", "pcm.mkv", "video.mp4"])
def test_blocks_are_small_whatever_the_file_holds(tmp_path, name):
    path = write_format(tmp_path, name, tone(10.0, 48000), 48000)
    with open_recording(path) as recording:
        assert max(block.size for block in recording.blocks) <= BLOCK


def test_one_packet_of_a_minute_comes_in_blocks(tmp_path):
    path = tmp_path / "packet.mkv"
    encode(path, tone(60.0), 16000, "pcm_s16le", frame_size=16000 * 60)
    with open_recording(path) as recording:
        sizes = [block.size for block in recording.blocks]
    assert sum(sizes) == 16000 * 60
    assert max(sizes) <= BLOCK


def test_the_name_says_nothing_of_the_content(tmp_path):
    """A wav called mp3 is read, and an mp3 called wav, without a word on stderr."""
    write_format(tmp_path, "16.wav", tone(1.0), 16000).rename(tmp_path / "a.mp3")
    write_format(tmp_path, "speech.mp3", tone(1.0), 16000).rename(tmp_path / "b.wav")
    script = (
        "import sys, unbabble.audio as audio, pathlib; print(len(audio.read_mono(pathlib.Path(sys.argv[1]), 16000)))"
    )
    for name in ("a.mp3", "b.wav"):
        done = subprocess.run([sys.executable, "-c", script, tmp_path / name], capture_output=True, text=True)
        assert (done.stdout.strip(), done.stderr) == ("16000", "")


def test_ffmpeg_is_loaded_only_where_it_is_needed(tmp_path):
    path = write_format(tmp_path, "16.flac", tone(1.0), 16000)
    script = "import sys, unbabble.audio as audio, pathlib; audio.read_mono(pathlib.Path(sys.argv[1]), 8000)"
    done = subprocess.run([sys.executable, "-c", f"{script}; print('av' in sys.modules)", path], capture_output=True)
    assert done.stdout.strip() == b"False"


@pytest.mark.parametrize("n_channels", [2, 6, 200])
@pytest.mark.parametrize("suffix", ["wav", "caf"])
def test_any_number_of_channels(tmp_path, n_channels, suffix):
    channels = tone(0.5)[:, np.newaxis] * np.linspace(0, 1, n_channels, dtype=np.float32)
    path = tmp_path / f"many.{suffix}"
    soundfile.write(path, channels, 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_mono(path, 16000), tone(0.5) / 2, atol=1e-6)
    with open_recording(path) as recording:
        assert recording.n_channels == n_channels
        last = np.concatenate(list(to_mono(recording.blocks, n_channels - 1)), axis=1)
    np.testing.assert_array_equal(last[0], tone(0.5))


@pytest.mark.parametrize(("name", "codec", "n_channels"), [("a.m4a", "alac", 8), ("a.wv", "wavpack", 16)])
def test_channels_that_the_decoder_keeps_apart(tmp_path, name, codec, n_channels):
    """From 8 on, PyAV's own conversion reads behind the last."""
    channels = tone(1.0) * np.linspace(0.1, 1, n_channels, dtype=np.float32)[:, np.newaxis]
    encode(tmp_path / name, channels, 16000, codec)
    with open_recording(tmp_path / name) as recording:
        np.testing.assert_allclose(np.concatenate(list(recording.blocks), axis=1), channels, atol=0.005)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.wav", "a.m4a", "a.mkv"])
def test_what_a_recording_says_of_itself(tmp_path, name):
    path = tmp_path / name
    tags = {"title": "Zoë\nat night", "date": "1999", "comment": "x" * 2000, "unheard of": "y"}
    if name.endswith(("m4a", "mkv")):
        encode(path, tone(1.0), 16000, "aac", tags=tags)
    else:
        with soundfile.SoundFile(path, "w", 16000, 1) as file:
            file.title, file.date, file.comment = list(tags.values())[:3]
            file.write(tone(1.0))
    with open_recording(path) as recording:
        assert recording.tags == {"title": "Zoë at night", "date": "1999", "comment": "x" * LONGEST_TAG}


@pytest.mark.parametrize("tones", [(440, 880), (880, 880)])  # the same twice has the same number, too
def test_recordings_chained_in_one_ogg_are_all_read(tmp_path, tones):
    chain = b""
    for hertz in tones:
        chain += write_format(tmp_path, "vorbis.ogg", tone(1.0, hertz=hertz), 16000).read_bytes()
    (tmp_path / "chain.ogg").write_bytes(chain)
    samples = read_mono(tmp_path / "chain.ogg", 16000)
    assert samples.size == pytest.approx(32000, abs=800)
    assert np.argmax(np.abs(np.fft.rfft(samples[-12000:]))) * 16000 / 12000 == pytest.approx(880, abs=2)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_resampling_in_blocks_equals_resampling_at_once(rate):
    samples = tone(1.0, rate)[np.newaxis]
    blocks = np.array_split(samples, 7, axis=1)
    there = np.concatenate(list(resample(blocks, rate, 16000)), axis=1)
    at_once = np.concatenate(list(resample([samples], rate, 16000)), axis=1)
    np.testing.assert_allclose(there, at_once, atol=1e-6)
    assert there.shape[1] == pytest.approx(16000, abs=1)
    pushed = Resampler(rate, 16000)
    np.testing.assert_array_equal(np.concatenate([*map(pushed.push, blocks), pushed.finish()], axis=1), there)
