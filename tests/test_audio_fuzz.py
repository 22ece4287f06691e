"""Thousands of damaged recordings: samples or one line, never a crash, a hang, a traceback or a memory that grows."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

DAMAGED = 2200
MOST_MB = 450  # of memory at the peak, with the model loaded


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="alarms and resource use are POSIX")
def test_damaged_recordings_are_decoded_or_refused(tmp_path, tiny_model, capsys):
    script = Path(__file__).with_name("fuzz_audio.py")
    command = [sys.executable, script, tmp_path / "fuzz", DAMAGED, tiny_model]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    left = list((tmp_path / "fuzz" / "current").glob("*"))
    assert done.returncode == 0, f"ended with {done.returncode} at {left}:\n{done.stderr}"
    assert done.stderr == ""
    result = json.loads(done.stdout)
    totals: Counter[str] = Counter()
    for what, count in result["tally"].items():
        totals[what.partition(": ")[2]] += count
    with capsys.disabled():
        print(f"\n{DAMAGED} damaged recordings, peak {result['peak_mb']:.0f} MB: {dict(totals)}")
    assert totals["file decoded"] + totals["file refused"] == DAMAGED
    assert totals["separation decoded"] + totals["separation refused"] >= 100
    assert min(totals["file decoded"], totals["pipe decoded"], totals["separation decoded"]) > 10  # not all refused
    assert result["peak_mb"] < MOST_MB
