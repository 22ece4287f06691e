"""Folders of recordings: several processes, interrupted at any time and started again."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, run, run_here
from talkers import assert_separated, talk

COUNT, SECONDS = 5, 60

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


@pytest.fixture
def inbox(tmp_path) -> Path:
    """Recordings that take a while."""
    folder, (example, _) = tmp_path / "inbox", soundfile.read(REPO / "examples" / "two-talkers.flac")
    folder.mkdir()
    for number in range(COUNT):
        soundfile.write(folder / f"{number}.wav", np.resize(np.roll(example, -number * RATE), RATE * SECONDS), RATE)
    return folder


def arguments(inbox: Path, model: Path, jobs: int) -> list[str]:
    out = inbox.parent / "out"
    return ["separate", *map(str, (inbox, "--out", out, "--model", model, "--jobs", jobs)), "--speakers", "2"]


def hear_interrupts() -> None:
    """Tests that a shell has put into the background ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def begun(inbox: Path, model: Path, jobs: int) -> subprocess.Popen:
    """The program, when it has told of its first track."""
    process = subprocess.Popen(
        [sys.executable, "-m", "unbabble", *arguments(inbox, model, jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )
    assert process.stdout.readline().endswith("speaker1.wav\n")
    return process


def wait_for_the_end(group: int) -> None:
    """Of the workers of a killed program, which notice it soon, but later where the machine is busy."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the workers outlive their program")


def results(out: Path) -> dict[str, int]:
    """The files under final names, and when each was written."""
    files = [path for path in out.rglob("*") if path.is_file() and ".part-" not in str(path)]
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in files}


def leftovers(out: Path) -> list[Path]:
    return list(out.rglob("*.part-*"))


def everything() -> set[str]:
    names = ("separation.json", "speaker1.wav", "speaker2.wav")
    return {f"{number}/{name}" for number in range(COUNT) for name in names}


def is_whole(out: Path, names) -> bool:
    """Every recording has all its files, each as long as the recording, or none."""
    lengths = {soundfile.info(out / name).frames for name in names if name.endswith("wav")}
    return len(names) % 3 == 0 and lengths <= {RATE * SECONDS}


@posix
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_started_again_it_goes_on_where_it_was(inbox, tiny_model, jobs):
    process = begun(inbox, tiny_model, jobs)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    out = inbox.parent / "out"
    wait_for_the_end(process.pid)
    before = results(out)
    assert is_whole(out, before)
    assert 3 <= len(before) < len(everything())
    done = run(*arguments(inbox, tiny_model, jobs))
    assert done.returncode == 0, done.stderr
    after = results(out)
    assert set(after) == everything()
    assert is_whole(out, after)
    assert before.items() <= after.items()
    assert done.stderr.count("done before") == len(before) // 3
    assert all(soundfile.read(track)[0].any() for track in out.rglob("*.wav"))
    assert leftovers(out) == []


@posix
@pytest.mark.parametrize(("jobs", "to_all"), [(1, True), (2, True), (2, False)])
def test_interrupted_it_says_so_in_a_line_and_leaves_nothing_half_done(inbox, tiny_model, jobs, to_all):
    """to_all: as a terminal does, which sends Ctrl-C to every process of the command."""
    process = begun(inbox, tiny_model, jobs)
    if to_all:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    out = inbox.parent / "out"
    done = len(results(out)) // 3
    found = re.fullmatch(r"interrupted: (\d) of 5 recordings are done; .*", said.splitlines()[-1])
    assert 1 <= int(found[1]) <= done < COUNT  # a process may have ended one that was not told of any more
    assert "Traceback" not in said
    assert is_whole(out, results(out))
    assert leftovers(out) == []
    wait_for_the_end(process.pid)


def test_several_processes_make_the_same_as_one(tmp_path, oracle_flags):
    """Threads and windows too."""
    lengths_s = 7.0, 13.0, 3.0, 0.01
    for number, seconds in enumerate(lengths_s):
        soundfile.write(tmp_path / f"{number}.wav", talk(RATE).sum(0)[: round(seconds * RATE)], RATE, subtype="FLOAT")
    inputs = [tmp_path / f"{number}.wav" for number in range(4)]
    outputs = []
    for jobs in (1, 3):
        out = tmp_path / f"out{jobs}"
        flags = ("--out", out, *oracle_flags, "--jobs", jobs, "--speakers", 2, "--threads", jobs)
        done = run_here("separate", *inputs, *flags)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"error: {inputs[3]}: too short")
        assert [line.replace(str(out), "") for line in done.stdout.splitlines()] == [
            f"/{number}/speaker{speaker}.wav" for number in range(3) for speaker in (1, 2)
        ]
        outputs.append([path.read_bytes() for path in sorted(out.rglob("*.wav"))])
        for number, seconds in enumerate(lengths_s[:3]):
            tracks = [soundfile.read(out / f"{number}/speaker{speaker}.wav")[0] for speaker in (1, 2)]
            assert_separated(np.stack(tracks), talk(RATE)[:, : round(seconds * RATE)])
    assert outputs[0] == outputs[1]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers as Linux lists them")
def test_a_killed_worker_is_told_of(inbox, tiny_model):
    """As the system kills for want of memory."""
    process = begun(inbox, tiny_model, 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("error: a process was killed")
    assert "Traceback" not in said
    wait_for_the_end(process.pid)
