"""Tracks as files: every format, any length, no clipping, what the recording says of itself."""

import signal
import struct
import sys
import wave

import av
import numpy as np
import pytest
import soundfile
from conftest import tone

from unbabble.audio import TRACK_BITS, TrackFormat, TrackWriter, WavFile, open_recording
from unbabble.audio import write as write_module
from unbabble.audio.write import wav_header
from unbabble.errors import OutputError

STEPS = {"wav16": 2.0**-15, "wav24": 2.0**-23, "wav32": 0.0, "flac": 2.0**-23}
TRACK_FORMATS = [TrackFormat(container, bits) for container, choice in TRACK_BITS.items() for bits in choice]
TAGS = {"title": "Zoë at night", "artist": "Ann", "album": "Tapes", "date": "1999", "comment": "take 2"}


def write_tracks(folder, blocks, track_format, tags=None, drop=()):
    paths = [folder / f"{number}{track_format.suffix}" for number in range(len(blocks[0]))]
    with TrackWriter(paths, 16000, track_format, tags) as writer:
        for block in blocks:
            writer.write(block)
        writer.drop(drop)
    return paths, writer


@pytest.mark.parametrize("track_format", TRACK_FORMATS, ids=lambda one: one.name)
def test_what_is_written_is_read_back(tmp_path, track_format):
    tracks = np.stack([tone(1.0), tone(1.0, hertz=1000)])
    blocks = [tracks[:, :0], *np.array_split(tracks, 7, axis=1)]
    paths, writer = write_tracks(tmp_path, blocks, track_format, TAGS)
    assert (writer.n_samples, writer.gain) == (16000, 1.0)
    assert writer.peaks == pytest.approx([0.3, 0.3], abs=1e-3)
    assert sorted(tmp_path.iterdir()) == paths
    for path, track in zip(paths, tracks, strict=True):
        samples, rate = soundfile.read(path)
        assert rate == 16000
        np.testing.assert_allclose(samples, track, atol=STEPS[track_format.name] / 2 + 1e-12)
        with open_recording(path) as recording:
            assert (recording.n_channels, recording.duration_s) == (1, 1.0)
        with av.open(str(path)) as container:
            assert container.metadata["title"] == TAGS["title"]
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        assert sum(frame.shape[1] for frame in frames) == 16000


@pytest.mark.parametrize("track_format", TRACK_FORMATS, ids=lambda one: one.name)
def test_tags_are_written(tmp_path, track_format):
    paths, _ = write_tracks(tmp_path, [tone(0.1)[np.newaxis]], track_format, {**TAGS, "unheard of": "x"})
    assert {**soundfile.SoundFile(paths[0]).copy_metadata()} == TAGS


def test_the_same_tracks_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_tracks(tmp_path / name, [tone(0.1)[np.newaxis]], TrackFormat("wav", 32), TAGS)
    assert (tmp_path / "a" / "0.wav").read_bytes() == (tmp_path / "b" / "0.wav").read_bytes()


@pytest.mark.parametrize("track_format", TRACK_FORMATS, ids=lambda one: one.name)
def test_tracks_that_would_clip_are_scaled_together(tmp_path, track_format):
    tracks = np.stack([tone(0.5) * 2, tone(0.5) * 10, tone(0.5) * 100])
    paths, writer = write_tracks(tmp_path, [tracks], track_format, drop=[2])
    assert writer.gain == (1.0 if track_format.name == "wav32" else pytest.approx(1 / 3, rel=1e-3))
    assert not paths[2].exists()
    for path, track in zip(paths[:2], tracks[:2], strict=True):
        np.testing.assert_allclose(
            soundfile.read(path)[0], track * writer.gain, atol=2 * STEPS[track_format.name] + 1e-6
        )


@pytest.mark.parametrize("track_format", TRACK_FORMATS, ids=lambda one: one.name)
def test_an_error_meanwhile_leaves_nothing_waiting(tmp_path, track_format):
    paths = [tmp_path / f"0{track_format.suffix}"]
    with pytest.raises(KeyError), TrackWriter(paths, 16000, track_format) as writer:
        writer.write({}["no such block"])
    assert set(tmp_path.iterdir()) <= set(paths)


@pytest.mark.parametrize("track_format", TRACK_FORMATS, ids=lambda one: one.name)
def test_what_cannot_be_written_is_told(tmp_path, track_format):
    path = tmp_path / "missing" / f"0{track_format.suffix}"
    with pytest.raises(OutputError, match="cannot be written"), TrackWriter([path], 16000, track_format):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
@pytest.mark.parametrize("track_format", TRACK_FORMATS, ids=lambda one: one.name)
@pytest.mark.parametrize("limit", [5_000, 70_000])  # bytes: at once; with the last block
def test_a_disk_that_takes_no_more_is_told_of_the_track(tmp_path, track_format, limit):
    """A limit on the size of files stands for the full disk."""
    import resource

    blocks = [np.random.default_rng(0).uniform(-0.5, 0.5, (2, 1000)).astype(np.float32)] * 18
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OutputError, match=r"[01]\.(wav|flac): cannot be written"):
            write_tracks(tmp_path, blocks, track_format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_beyond_its_limit_a_wav_becomes_an_rf64(tmp_path, monkeypatch, bits):
    """The limit is lowered: the header differs, the way to it does not."""
    monkeypatch.setattr(write_module, "LONGEST_PLAIN", 20_000)
    paths, _ = write_tracks(tmp_path, [tone(1.0)[np.newaxis]], TrackFormat("wav", bits), TAGS)
    assert paths[0].read_bytes()[:4] == b"RF64"
    samples, _ = soundfile.read(paths[0])
    np.testing.assert_allclose(samples, tone(1.0), atol=STEPS[f"wav{bits}"] + 1e-12)
    with av.open(str(paths[0])) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 16000


@pytest.mark.parametrize("n_bytes", [2**32 - 100, 2**32 - 2, 2**32, 5 * 2**32])
def test_more_than_4_gib_are_all_there(tmp_path, n_bytes):
    """A sparse file: a header, a hole, and the last sample."""
    with (tmp_path / "long.wav").open("wb") as file:
        header = wav_header(48000, 1, 16, n_bytes, {})
        file.write(header)
        file.seek(len(header) + n_bytes - 2)
        file.write(struct.pack("<h", 1 << 14))
    with soundfile.SoundFile(tmp_path / "long.wav") as file:
        assert file.frames == n_bytes // 2
        file.seek(file.frames - 1)
        assert file.read(2).tolist() == [0.5]
    with av.open(str(tmp_path / "long.wav")) as container:
        assert container.streams.audio[0].duration == n_bytes // 2


def test_small_wavs_are_plain(tmp_path):
    paths, _ = write_tracks(tmp_path, [tone(0.1)[np.newaxis, :1599]], TrackFormat("wav", 24))
    with wave.open(str(paths[0])) as file:  # which knows nothing but plain ones
        assert (file.getnframes(), file.getsampwidth(), file.getnchannels()) == (1599, 3, 1)
    assert paths[0].stat().st_size % 2 == 0


def test_a_wav_into_a_pipe_leaves_its_length_open(tmp_path):
    stereo = np.stack([tone(0.5), -tone(0.5)])[:, :7999]
    with (tmp_path / "piped.wav").open("wb") as file:
        file.seekable = lambda: False
        with WavFile(file, 16000, 2, 24) as wav:
            for block in np.array_split(stereo, 3, axis=1):
                wav.write(block)
    header = (tmp_path / "piped.wav").read_bytes()[:8]
    assert header == b"RIFF\xff\xff\xff\xff"
    samples, _ = soundfile.read(tmp_path / "piped.wav")
    np.testing.assert_allclose(samples.T, stereo, atol=STEPS["wav24"])
