"""Headers that state a wrong size of the samples: all that is there is read, or the error says what is wrong."""

import struct

import numpy as np
import pytest
from audio_files import SIZE_FIELDS, STAND_INS, Unseekable, encode, restate, wav, write_format
from conftest import tone

from unbabble.audio import open_recording, open_stream, read_mono
from unbabble.errors import AudioError

SAMPLES = (tone(2.0) * 32767).astype("<i2").tobytes()
LIST = b"LIST" + struct.pack("<I", 10) + b"INFOabcdef"


def both(path) -> list[np.ndarray | str]:
    """What comes of a file, opened by its name and through a pipe: samples, or why there are none."""
    results: list[np.ndarray | str] = []
    for opened in (open_recording(path), open_stream(Unseekable(path.read_bytes()))):
        try:
            with opened as recording:
                results.append(np.concatenate(list(recording.blocks), axis=1)[0])
        except AudioError as error:
            results.append(str(error))
    return results


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
    assert capfd.readouterr() == ("", "")
    whole = (tmp_path / "it.wav").read_bytes()
    for result in both(placed(tmp_path, whole[: len(whole) // 2])):
        assert "bytes are there" in result
