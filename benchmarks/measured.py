"""A process run from start to exit: what it took. POSIX only."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile


@dataclass(frozen=True)
class Run:
    """wall_s: from start to exit; cpu_s: of the processor, all threads; peak_mb: resident, 10^6 bytes."""

    code: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str
    errors: str


def run(command: list[str], threads: int | None = None) -> Run:
    """Run a program to its end; threads: told to libraries by OMP_NUM_THREADS."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0), errors.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        return Run(
            process.returncode,
            wall_s,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * unit / 1e6,
            output.read().decode(),
            errors.read().decode(),
        )


def program(path: Path, folder: Path, *arguments: str) -> list[str]:
    """The command line of unbabble as a user has it."""
    return [sys.executable, "-m", "unbabble", "separate", str(path), "--out", str(folder), "-q", *arguments]


def write_noise(path: Path, seconds: float, rate: int) -> Path:
    """A file of noise, 16 bit; made block by block, so that this process stays small."""
    block = 0.1 * np.random.default_rng(0).standard_normal(10 * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        left = round(seconds * rate)
        while left > 0:
            file.write(block[:left])
            left -= len(block)
    return path
