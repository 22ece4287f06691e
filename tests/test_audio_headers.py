"""Headers that state a wrong size of the samples: all that is there is read, or the error says what is wrong."""

import struct

import av
import numpy as np
import pytest
from audio_files import RATES_HZ, SIZE_FIELDS, STAND_INS, both, encode, encode_late, restate, wav, write_format
from conftest import tone

from unbabble.audio import read_mono
from unbabble.corpora.scan import read_duration_s

SAMPLES = (tone(2.0) * 32767).astype("<i2").tobytes()
CUT_PACKETS_REFUSED = int(av.__version__.split(".")[0]) < 18
LIST = b"LIST" + struct.pack("<I", 10) + b"INFOabcdef"


def placed(tmp_path, data: bytes):
    (tmp_path / "it.wav").write_bytes(data)
    return tmp_path / "it.wav"


ALL_STAND_INS = [
    (name, n_bytes)
    for name, (_, fields, _) in SIZE_FIELDS.items()
    for written in fields.values()
    for n_bytes in (None, 0, *STAND_INS[written])
]


@pytest.mark.parametrize(("name", "n_bytes"), ALL_STAND_INS)
def test_a_size_that_stands_for_none_is_read_to_the_end(tmp_path, name, n_bytes):
    """Recorders that were killed leave it, and writers into a pipe."""
    path = write_format(tmp_path, name, tone(2.0), 16000)
    restate(path, n_bytes)
    from_file, piped = both(path)
    np.testing.assert_allclose(from_file, tone(2.0), atol=1e-4)
    if name == "16.caf":
        assert "give the name of a file" in piped  # FFmpeg has to seek in it
    else:
        np.testing.assert_allclose(piped, tone(2.0), atol=1e-4)


@pytest.mark.parametrize("name", SIZE_FIELDS)
@pytest.mark.parametrize("n_bytes", [2, 100, 32000])
def test_what_is_behind_a_size_that_grew_old_is_read_too(tmp_path, name, n_bytes):
    if CUT_PACKETS_REFUSED and (name, n_bytes) == ("long.w64", 32000):
        pytest.xfail("PyAV before 18 refuses the last packet")
    path = write_format(tmp_path, name, tone(2.0), 16000)
    restate(path, n_bytes)
    from_file, piped = both(path)
    np.testing.assert_allclose(from_file, tone(2.0), atol=1e-4)
    assert "more samples come than" in piped or "give the name of a file" in piped


@pytest.mark.parametrize("name", SIZE_FIELDS)
def test_a_size_beyond_the_file_is_told(tmp_path, name):
    path = write_format(tmp_path, name, tone(2.0), 16000)
    restate(path, 10**9)
    from_file, piped = both(path)
    assert "of 1000000" in from_file
    assert "of 1000000" in piped or "give the name of a file" in piped


@pytest.mark.parametrize("riff", [0, 10, 64036, 64044, 10**9, 2**32 - 1])
def test_the_size_of_the_whole_may_be_wrong(tmp_path, riff):
    """Some writers count its own eight bytes, too."""
    for result in both(placed(tmp_path, wav(samples=SAMPLES, riff=riff))):
        np.testing.assert_allclose(result, tone(2.0), atol=1e-4)


@pytest.mark.parametrize(
    "tail", [b"\0", bytes(5000), LIST, b"TAG" + b"x" * 125, b"ID3\3\0" + b"x" * 99, LIST[:14], b"LIS"]
)
def test_what_is_no_sound_is_not_heard(tmp_path, tail):
    for result in both(placed(tmp_path, wav(samples=SAMPLES, tail=tail))):
        np.testing.assert_allclose(result, tone(2.0), atol=1e-4)


@pytest.mark.xfail(CUT_PACKETS_REFUSED, reason="PyAV before 18 refuses the last packet")
def test_an_empty_recording_with_a_tag_is_empty(tmp_path):
    (from_file, _) = both(placed(tmp_path, wav(tail=b"LIST" + struct.pack("<I", 2000) + b"INFO" + b"x" * 1996)))
    assert "no samples" in from_file


@pytest.mark.xfail(CUT_PACKETS_REFUSED, reason="PyAV before 18 refuses the last packet")
def test_a_byte_may_be_missing(tmp_path):
    for result in both(placed(tmp_path, wav(samples=SAMPLES)[:-1])):
        np.testing.assert_allclose(result, tone(2.0)[:-1], atol=1e-4)
    for result in both(placed(tmp_path, wav(samples=SAMPLES)[:-2])):
        assert "63998 of 64000 bytes are there" in result


def test_samples_in_two_chunks_are_all_read(tmp_path):
    second = b"data" + struct.pack("<I", 32000) + SAMPLES[32000:]
    whole = wav(samples=SAMPLES[:32000], tail=LIST + second, riff=36 + 64008 + len(LIST))
    for result in both(placed(tmp_path, whole)):
        np.testing.assert_allclose(result, tone(2.0), atol=1e-4)
    (from_file, _) = both(placed(tmp_path, whole[:-100]))
    assert "31900 of 32000 bytes are there" in from_file


def test_two_recordings_in_one_file_are_told(tmp_path):
    """As of ``cat a.wav b.wav``: the second would be lost."""
    for result in both(placed(tmp_path, 2 * wav(samples=SAMPLES))):
        assert "another recording follows" in result


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_mpeg_in_a_wav_is_decoded_in_silence(tmp_path, capfd, codec):
    """libsndfile's decoder writes to stderr, and takes it for damaged."""
    encode(tmp_path / "it.wav", tone(2.0), 16000, codec)
    samples = read_mono(tmp_path / "it.wav", 16000)
    assert samples.size == pytest.approx(32000, abs=2000)
    assert np.argmax(np.abs(np.fft.rfft(samples[8000:24000]))) == 440
    assert read_duration_s(tmp_path / "it.wav") == pytest.approx(2.0, abs=0.15)
    assert capfd.readouterr() == ("", "")
    whole = (tmp_path / "it.wav").read_bytes()
    for result in both(placed(tmp_path, whole[: len(whole) // 2])):
        assert "bytes are there" in result


LYRICS = b"LYRICSBEGININD0000200LYR00500" + b"x" * 500 + b"000550LYRICS200"
APE = struct.pack("<8sIIII8x", b"APETAGEX", 2000, 532, 1, 0xA0000000) + b"y" * 500
TAILS = [
    LYRICS,
    LYRICS + b"TAG" + bytes(125),
    bytes(5000),
    bytes(100_000),
    APE,
    b"TAG" + bytes(125),
    b"ID3\3" + b"q" * 2000,
]


@pytest.mark.parametrize("tail", TAILS, ids=range(len(TAILS)))
@pytest.mark.parametrize("name", ["speech.mp3", "speech.mp2", "speech.ac3", "raw.aac"])
def test_what_stands_behind_the_last_frame_is_no_damage(tmp_path, name, tail):
    path = write_format(tmp_path, name, tone(2.0, 48000), 48000)
    whole = both(path)
    path.write_bytes(path.read_bytes() + tail)
    for result, expected in zip(both(path), whole, strict=True):
        assert len(result) == pytest.approx(len(expected), abs=1152)  # the padding may come, too
        np.testing.assert_array_equal(result[: len(expected)], expected[: len(result)])


@pytest.mark.parametrize("name", ["video.ts", "speech.amr"])
def test_zeros_behind_are_no_sound(tmp_path, name):
    rate = RATES_HZ.get(name, 48000)
    path = write_format(tmp_path, name, tone(2.0, rate), rate)
    whole = both(path)
    path.write_bytes(path.read_bytes() + bytes(5000))
    for result, expected in zip(both(path), whole, strict=True):
        np.testing.assert_array_equal(result, expected)


def test_the_same_in_the_middle_is_damage(tmp_path):
    path = write_format(tmp_path, "speech.mp3", tone(2.0, 48000), 48000)
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + bytes(4096) + whole[9096:])
    for result in both(path):
        assert "damaged" in result


LATE = [
    *(("late.webm", "libopus", "libvpx"), ("late.mkv", "aac", "mpeg4"), ("late.avi", "libmp3lame", "mpeg4")),
    *(("late.avi", "aac", "mpeg4"), ("late.avi", "pcm_s16le", "mpeg4"), ("late.flv", "aac", "flv")),
    *(("late.mp4", "aac", "mpeg4"), ("late.mov", "pcm_s16le", "mpeg4"), ("late.ts", "aac", "mpeg2video")),
]


@pytest.mark.parametrize(("name", "codec", "pictures"), LATE)
def test_sound_that_begins_late_is_whole(tmp_path, name, codec, pictures):
    encode_late(tmp_path / name, tone(2.0, 48000), 48000, codec, pictures, delay_s=3.0)
    from_file, piped = both(tmp_path / name)
    assert from_file.size == pytest.approx(96000, abs=3000)
    assert "give the name of a file" in piped if name in ("late.mp4", "late.mov") else len(piped) == from_file.size


@pytest.mark.parametrize(("name", "codec", "pictures"), LATE[:5])
def test_sound_that_begins_late_and_is_cut_is_told(tmp_path, name, codec, pictures):
    encode_late(tmp_path / name, tone(4.0, 48000), 48000, codec, pictures, delay_s=1.0)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 7 // 10])
    for result in both(tmp_path / name):
        assert "cut short" in result
