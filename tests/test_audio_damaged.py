"""What cannot be decoded is explained: what is wrong, what was expected, what to do."""

import io
import os
import threading

import av
import numpy as np
import pytest
import soundfile
from audio_files import LEADING_ELSEWHERE, both, encode, ogg_pages, repeat_edits, wav, write_format
from conftest import tone

from unbabble.audio import RawFormat, ffmpeg, open_recording, open_stream, read_mono
from unbabble.errors import AudioError

CUT = [
    *("16.wav", "24.wav", "gsm.wav", "long.rf64", "long.w64", "16.flac", "16.aiff", "16.au", "16.caf", "alac.caf"),
    *("vorbis.ogg", "speech.opus", "speech.mp3", "speech.wma", "speech.tta"),
    *("aac.m4a", "video.mp4", "video.mov", "video.mkv", "video.webm", "video.avi", "raw.aac"),
    *("speech.ac3", "speech.mp2"),
]


def told(path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(AudioError) as caught:
        read_mono(path, 16000)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", CUT)
def test_a_truncated_file_is_reported(tmp_path, name):
    path = write_format(tmp_path, name, np.random.default_rng(0).uniform(-0.3, 0.3, 96000).astype(np.float32), 48000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10 + 1])  # within a frame
    assert "cut short" in told(path)


def test_a_transport_stream_that_ends_within_a_frame_is_told(tmp_path):
    path, noise = tmp_path / "cut.ts", np.random.default_rng(0).uniform(-0.3, 0.3, 96000).astype(np.float32)
    encode(path, noise, 48000, "mp2", container="mpegts")
    path.write_bytes(path.read_bytes()[: 188 * 155])
    assert "of its last frame" in told(path)


@pytest.mark.parametrize("name", ["16.flac", "vorbis.ogg", "speech.opus", "speech.mp3", "speech.tta", "video.mkv"])
def test_zeros_in_the_middle_are_told(tmp_path, name, capfd):
    """From the file and through a pipe: decoders pass over them, or invent what may have been there."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 288000).astype(np.float32)
    path = write_format(tmp_path, name, noise, 48000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :])
    for result in both(path):
        assert "damaged" in result
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["vorbis.ogg", "speech.opus"])
def test_pages_that_are_missing_or_changed_are_told(tmp_path, name):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 480000).astype(np.float32)
    path = write_format(tmp_path, name, noise, 48000)
    pages = ogg_pages(path.read_bytes())
    path.write_bytes(b"".join(pages[:8] + pages[9:]))
    for result in both(path):
        assert "page 9 follows page 7" in result
    changed = bytearray(pages[8])
    changed[-100] ^= 1
    path.write_bytes(b"".join([*pages[:8], bytes(changed), *pages[9:]]))
    for result in both(path):
        assert "page 8 is damaged" in result


def test_a_dump_of_a_live_stream_is_whole(tmp_path):
    """It begins with the headers, and goes on with the page of the day."""
    path = write_format(tmp_path, "vorbis.ogg", np.random.default_rng(0).uniform(-0.3, 0.3, 480000), 48000)
    pages = ogg_pages(path.read_bytes())
    path.write_bytes(b"".join(pages[:2] + pages[5:]))
    for result in both(path):
        assert 100_000 < len(result) < 480_000


def test_an_mp3_that_counts_its_frames_is_cut_in_a_pipe(tmp_path):
    path = write_format(tmp_path, "speech.mp3", tone(4.0, 48000), 48000)
    whole = path.read_bytes()
    path.write_bytes(b"ID3\3\0\0\0\1\0\0" + bytes(1 << 14) + whole)  # behind a picture
    for result in both(path):
        assert len(result) == pytest.approx(192000, abs=1152)
    path.write_bytes(path.read_bytes()[: -len(whole) * 3 // 10])
    for result in both(path):
        assert "of 192000 samples are there" in result


def test_an_ogg_that_ends_with_a_page_is_whole(tmp_path):
    """A recorder that was stopped leaves such a file."""
    path = write_format(tmp_path, "vorbis.ogg", np.random.default_rng(0).uniform(-0.3, 0.3, 480000), 48000)
    whole = path.read_bytes()
    last = whole.rindex(b"OggS\0")
    path.write_bytes(whole[:last])
    assert 0 < read_mono(path, 48000).size < 480000
    path.write_bytes(whole[: last + 20])
    assert "its last page is incomplete" in told(path)


SAMPLES = (tone(0.5) * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ({"rate": 1}, "sample rate 1 Hz; expected 8 to 192 kHz; resample it first"),
        ({"rate": 4000}, "sample rate 4000 Hz"),
        ({"rate": 10**9}, "sample rate 1000000000 Hz"),
        ({"rate": 0}, "not audio that can be decoded"),
        ({"n_channels": 0}, "0 usable channels; expected 1 to 512"),
        ({"n_channels": 1000}, "1000 usable channels; expected 1 to 512"),
        ({"n_channels": 65535, "align": 2}, "usable channels; expected 1 to 512"),
        ({"bits": 0}, "no decoder for its kind of sound"),
        ({"n_bytes": 32000}, "16000 of 32000 bytes are there"),
        ({"n_bytes": 3 << 30}, "16000 of 3221225472 bytes are there"),
        ({"samples": b""}, "no samples"),
    ],
)
def test_a_header_that_lies(tmp_path, header, found):
    (tmp_path / "lie.wav").write_bytes(wav(**{"samples": SAMPLES, **header}))
    assert found in told(tmp_path / "lie.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["bad.wav", "bad.mkv"])
def test_samples_that_are_no_numbers_are_refused(tmp_path, bad, name):
    samples = tone(0.5).astype(np.float64)
    samples[100] = bad
    with np.errstate(over="ignore"):
        if name == "bad.wav":
            soundfile.write(tmp_path / name, samples, 16000, subtype="DOUBLE")
        else:
            encode(tmp_path / name, samples.astype(np.float32), 16000, "pcm_f32le")
    assert "NaN or infinite" in told(tmp_path / name)


def test_what_is_no_audio_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("dear diary, " * 100)
    (tmp_path / "random.wav").write_bytes(np.random.default_rng(0).bytes(100_000))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "byte.wav").write_bytes(b"R")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    for name, found in {
        "text.wav": "not audio",
        "random.wav": "not audio",
        "empty.wav": "empty",
        "byte.wav": "not audio",
        "folder.wav": "a folder; expected an audio file",
        "missing.wav": "no such file",
        "loop.wav": "cannot be read",
        "null\0.wav": "cannot be read",
    }.items():
        assert found in told(tmp_path / name)


def test_a_video_without_sound_is_refused(tmp_path):
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "holds no sound" in told(path)


@pytest.mark.parametrize("every_format", [False, True])  # each of the two walls stands by itself
@pytest.mark.parametrize("kind", LEADING_ELSEWHERE)
def test_nothing_that_a_file_names_is_opened(tmp_path, monkeypatch, kind, every_format):
    """Neither another file nor the network: a session description would bind ports and wait for sound."""
    if every_format:
        monkeypatch.setattr(ffmpeg, "FORMATS", ",".join(av.formats_available))
    target = write_format(tmp_path, "video.ts", tone(1.0, 48000), 48000)
    path = tmp_path / "list.wav"
    path.write_text(LEADING_ELSEWHERE[kind].replace("{target}", str(target)))
    message = told(path)
    assert "not audio" in message or "no sound" in message


@pytest.mark.parametrize("name", ["16.wav", "16.flac", "raw.aac", "speech.mp3", "vorbis.ogg", "speech.mp2"])
def test_a_file_that_grows_ends_where_it_ended_when_it_was_opened(tmp_path, name):
    path = write_format(tmp_path, name, tone(2.0, 48000), 48000)
    data = path.read_bytes()
    with path.open("ab") as file, open_recording(path) as recording:
        n_read = 0
        for block in recording.blocks:
            file.write(data)  # faster than it is read
            file.flush()
            n_read += block.shape[1]
    assert n_read == pytest.approx(96000, abs=4800)


def test_a_file_that_shrinks_is_told(tmp_path):
    path = write_format(tmp_path, "16.wav", tone(30.0, 48000), 48000)
    with open_recording(path) as recording:
        next(recording.blocks)
        os.truncate(path, 100_000)
        with pytest.raises(AudioError, match="cut short"):
            list(recording.blocks)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_named_pipe_is_read_as_it_comes(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(wav(samples=SAMPLES)))
    writer.start()
    np.testing.assert_allclose(read_mono(tmp_path / "fifo", 16000), tone(0.5), atol=1e-4)
    writer.join()


def test_hours_in_a_few_bytes_are_refused_unless_allowed(tmp_path):
    """An edit list that repeats itself."""
    path = tmp_path / "bomb.mov"
    encode(path, tone(2.0, 8000), 8000, "pcm_s16le")
    repeat_edits(path, 1000)
    with pytest.raises(AudioError, match=r"bomb.mov: more than 0.5 h of sound in \d+ kB; expected .* --max-hours"):
        n_samples(open_recording(path))
    assert n_samples(open_recording(path, max_hours=1)) > 2000 * 8000
    with pytest.raises(AudioError, match=r"more than 0\.01 h of sound; expected"):
        n_samples(open_recording(path, max_hours=0.01))


def test_what_a_pipe_brings_is_bounded_too():
    samples = bytes(2 * 8000 * 40)
    with pytest.raises(AudioError, match=r"more than 0\.01 h of sound"):
        n_samples(open_stream(io.BytesIO(samples), RawFormat(8000), max_hours=0.01))
    assert n_samples(open_stream(io.BytesIO(samples), RawFormat(8000))) == 8000 * 40


def n_samples(opened) -> int:
    with opened as recording:
        return sum(block.shape[1] for block in recording.blocks)
