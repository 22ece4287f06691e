"""The benchmark that draws learning curves."""

import json
import subprocess
import sys

from conftest import REPO


def curves(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, REPO / "benchmarks" / "learning_curves.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def test_points_are_told_in_order_and_drawn(tmp_path):
    for name, mean in (("short", 1.5), ("long", 4.0)):
        score = {"si_sdri": {"mean": mean, "low": mean - 0.25, "high": mean + 0.25}}
        (tmp_path / name).write_text(json.dumps({"average": score, "by_overlap": {"<25 %": score}}))
    points = [["--point", "minutes", 60, tmp_path / "long"], ["--point", "minutes", 15, tmp_path / "short"]]
    done = curves(*points[0], *points[1], "--point", "hours", 1, tmp_path / "long", "--out", tmp_path / "curves.png")
    assert done.stdout.splitlines() == [
        "| minutes | <25 % | average | interval |",
        "| --- | --- | --- | --- |",
        "| 15 | 1.50 | 1.50 | 1.25 to 1.75 |",
        "| 60 | 4.00 | 4.00 | 3.75 to 4.25 |",
        "",
        "| hours | <25 % | average | interval |",
        "| --- | --- | --- | --- |",
        "| 1 | 4.00 | 4.00 | 3.75 to 4.25 |",
    ]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_no_points_are_refused(tmp_path):
    done = curves("--out", tmp_path / "curves.png")
    assert done.returncode == 2
    assert "--point" in done.stderr
