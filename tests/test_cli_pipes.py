"""unbabble in a pipe: standard input and standard output."""

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, one_line_error, run_here, tone
from talkers import assert_separated, talk

MIXTURE = talk(RATE).sum(0)

ROUNDED = 2e-5  # between the two passes over a file, estimates have 16 bits


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "unbabble", "separate", *map(str, arguments)]


def piped(*arguments, given: bytes = b"") -> subprocess.CompletedProcess:
    """The program with bytes for standard input; its standard output is bytes as well."""
    done = subprocess.run(command(*arguments), input=given, capture_output=True)
    done.stderr = done.stderr.decode()
    return done


def encoded(samples: np.ndarray, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=kind, subtype="FLOAT" if kind == "WAV" else None)
    return file.getvalue()


@pytest.fixture
def expected(tmp_path, oracle_flags) -> np.ndarray:
    """The tracks that the mixture gives as a file: (samples, tracks)."""
    path = tmp_path / "mixture.wav"
    path.write_bytes(encoded(MIXTURE))
    done = run_here("separate", path, "--out", tmp_path / "file", *oracle_flags, "--speakers", 2)
    assert done.returncode == 0, done.stderr
    tracks = np.stack([soundfile.read(tmp_path / "file/mixture" / f"speaker{n}.wav")[0] for n in (1, 2)])
    assert_separated(tracks, talk(RATE))
    return tracks.T


RAW = ["--raw", "f32le", "--rate", RATE]


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (encoded(MIXTURE), []),
        (MIXTURE.tobytes(), RAW),
        (np.stack([MIXTURE, -MIXTURE], 1).tobytes(), [*RAW, "--channels", 2, "--channel", 1]),
    ],
    ids=["wav", "raw", "a channel of raw"],
)
def test_through_a_pipe_it_gives_what_the_file_gives(oracle_flags, expected, given, flags):
    done = piped("-", "--stdout", *oracle_flags, "--speakers", 2, "--quiet", *flags, given=given)
    assert (done.returncode, done.stderr) == (0, "")
    tracks, rate = soundfile.read(io.BytesIO(done.stdout))
    assert rate == RATE
    np.testing.assert_allclose(tracks, expected, atol=ROUNDED)


def test_standard_input_into_files(tmp_path, oracle_flags, expected):
    flags = ("--out", tmp_path / "out", *oracle_flags, "--speakers", 2)
    done = piped("-", *flags, given=encoded(MIXTURE, "FLAC"))
    assert done.returncode == 0, done.stderr
    track, _ = soundfile.read(tmp_path / "out" / "stdin" / "speaker2.wav")
    np.testing.assert_allclose(track, expected[:, 1], atol=1e-3)
    again = piped("-", *flags, given=encoded(MIXTURE, "FLAC"))
    one_line_error(again, "is there already", "--force")


def test_a_file_to_standard_output_of_16_bits(tmp_path, oracle_flags, expected):
    flags = ("--stdout", *oracle_flags, "--bits", 16, "--speakers", 2)
    done = piped(tmp_path / "mixture.wav", *flags)
    assert done.returncode == 0, done.stderr
    tracks, _ = soundfile.read(io.BytesIO(done.stdout))
    np.testing.assert_allclose(tracks, expected.clip(-1, 1), atol=2**-15)


def test_unbuffered_standard_output_gets_every_byte(tmp_path, oracle_flags, expected):
    """A write to a pipe may take only a part."""
    process = subprocess.Popen(
        command(tmp_path / "mixture.wav", "--stdout", *oracle_flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    time.sleep(0.1)
    data = b""
    while block := process.stdout.read(1000):
        data += block
    np.testing.assert_allclose(soundfile.read(io.BytesIO(data))[0], expected, atol=ROUNDED)


def test_tracks_come_while_the_recording_still_does(oracle_flags):
    arguments = command("-", "--stdout", *oracle_flags, *RAW, "--quiet")
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    feeding, fed = threading.Event(), 0

    def feed() -> None:
        nonlocal fed
        while not feeding.is_set():
            process.stdin.write(MIXTURE.tobytes())
            process.stdin.flush()
            fed += 1
        process.stdin.close()

    thread = threading.Thread(target=feed)
    thread.start()
    first = process.stdout.read(2 * 4 * RATE)  # a second of both tracks, before the end is anywhere in sight
    feeding.set()
    rest = process.stdout.read()
    thread.join()
    assert process.wait() == 0
    tracks, _ = soundfile.read(io.BytesIO(first + rest))
    assert_separated(tracks.T, np.tile(talk(RATE), fed))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
def test_a_closed_pipe_ends_it_quietly(tmp_path, tiny_model):
    soundfile.write(tmp_path / "long.wav", np.tile(MIXTURE, 20), RATE)
    for flags in (["--stdout"], ["--out", tmp_path / "out", "--speakers", 2]):
        arguments = command(tmp_path / "long.wav", "--model", tiny_model, *flags)
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if flags == ["--stdout"]:
            process.stdout.buffer.read(100)
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait() == 1, said
        assert "Traceback" not in said
        assert "Exception" not in said
        assert "rror" not in said


def test_what_is_no_recording_is_one_line(tiny_model):
    for given, message in ((b"hello " * 99, "standard input: "), (b"", "standard input: ")):
        done = piped("-", "--stdout", "--model", tiny_model, given=given)
        assert (done.returncode, done.stdout) == (1, b"")
        one_line_error(done, message)


def test_what_does_not_go_with_a_pipe_is_refused(tmp_path, tiny_model):
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([tone(0.5)] * 2, axis=1), RATE)
    for arguments, code in (
        ([tmp_path], 2),
        ([tmp_path / "a.wav", "--channel", "each"], 2),
        ([tmp_path / "a.wav", "--activity", "rttm"], 2),
        ([tmp_path / "a.wav", "--format", "flac"], 1),
        ([tmp_path / "no.wav"], 1),
        (["-", "--raw", "s16le"], 2),
        (["-", "--raw", "mp3", "--rate", "8000"], 2),
    ):
        done = run_here("separate", *arguments, "--stdout", "--model", tiny_model)
        assert (done.returncode, done.stdout) == (code, "")
        assert "rror" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line(tmp_path, tiny_model, expected):
    with open("/dev/full", "wb") as full:
        arguments = command(tmp_path / "mixture.wav", "--model", tiny_model, "--stdout", "--quiet")
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    one_line_error(done, "standard output: cannot be written: No space left")
