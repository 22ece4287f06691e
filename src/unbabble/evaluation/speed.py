"""How fast a model separates on this machine, and in how much memory: ``python -m unbabble.evaluation.speed MODEL``.

It runs in a process of its own, because the peak of a process is that of all it ever did.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from unbabble.inference.separator import Separator

MEASURED_S = 10.0


@dataclass(frozen=True)
class Speed:
    """On one thread. real_time_factor: seconds of the processor a second of audio.

    peak_memory_mb: of the process, 10^6 bytes; None where the system does not tell.
    """

    real_time_factor: float
    peak_memory_mb: float | None


def measure_speed(model: Path) -> Speed:
    """Separate noise of MEASURED_S in a fresh process."""
    command = [sys.executable, "-m", __spec__.name, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Speed(**json.loads(done.stdout))


def measure_here(model: Path) -> Speed:
    separator = Separator(model, threads=1, device="cpu")
    rate = separator.model.sample_rate
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(MEASURED_S * rate))
    separator(noise[:rate], rate)  # the first time also prepares
    begun = time.process_time()  # not the clock's: what else runs on the machine shall not count
    separator(noise, rate)
    return Speed((time.process_time() - begun) / MEASURED_S, peak_memory_mb())


def peak_memory_mb() -> float | None:
    """Resident, of this process since it began."""
    if sys.platform == "win32":
        return None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    status = Path("/proc/self/status").read_text()  # ru_maxrss of Linux is at least that of the parent
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(asdict(measure_here(Path(sys.argv[1])))))
