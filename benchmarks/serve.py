"""How soon the page of ``unbabble serve`` is there, how soon a recording can be heard, and what many uploads take.

    python benchmarks/serve.py [--minutes 5] [--uploads 50] [--rounds 3] [--chromium PATH]

First: from the request to the first paint, in a browser that has never seen the page, and every address that it asks
for. Second: a recording of --minutes is given to the page; until the tracks are shown, and until the clock of the
player moves. Third: --uploads recordings of 3 s are sent at the same moment; how many come back whole, and the
largest memory of the server with all its processes (resident, what they share counted for each, 10^6 bytes). Needs
the extra ``dev``, a Chromium and Linux.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile
from playwright.sync_api import Browser, Page, sync_playwright

EXAMPLE = Path(__file__).parent.parent / "examples" / "two-talkers.flac"
PAINT_S, PLAYABLE_S, MEMORY_MB = 1.0, 15.0, 1500.0  # what is promised


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, int]]:
    """A server; its address and its process."""
    command = [sys.executable, "-m", "unbabble", "serve", "--port", "0", "--data", str(data), "-q"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().rstrip("/"), process.pid
    finally:
        process.terminate()
        process.wait()


def until(page: Page, expression: str) -> None:
    """Wait for the page; Playwright's own way of waiting needs eval, which the page forbids."""
    while not page.evaluate(expression):
        page.wait_for_timeout(20)


def first_paint(browser: Browser, url: str) -> tuple[float, set[str]]:
    """Seconds until something is seen, and the hosts that were asked."""
    page = browser.new_page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(url)
    until(page, "performance.getEntriesByName('first-contentful-paint').length")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_load_state("networkidle")
    page.close()
    return paint / 1000, hosts


def playable(browser: Browser, url: str, recording: Path) -> tuple[float, float]:
    """Seconds from giving a file to the page, until its tracks are shown, and until they are heard."""
    page = browser.new_page(base_url=url)
    page.goto("/")
    until(page, "document.getElementById('limits').textContent.includes('GB')")
    began = time.perf_counter()
    page.set_input_files("#files", recording)
    page.wait_for_selector(".player .lane", timeout=600_000)
    shown = time.perf_counter() - began
    page.keyboard.press(" ")
    until(page, "document.querySelector('.now').value > '0:00.1'")
    heard = time.perf_counter() - began
    page.close()
    return shown, heard


class Memory(threading.Thread):
    """Watches a process and all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mb, self.ended = pid, 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.2):
            self.peak_mb = max(self.peak_mb, sum(map(self._size_mb, self._family())))

    def _family(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(status.parent.name))
        found, left = [], [self.pid]
        while left:
            found.append(left.pop())
            left += children.get(found[-1], [])
        return found

    @staticmethod
    def _size_mb(pid: int) -> float:
        try:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return resident * os.sysconf("SC_PAGE_SIZE") / 1e6


def send(url: str, content: bytes, name: str) -> str:
    """Upload a recording; gives its id."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
    head = f'--limit\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    kind = {"Content-Type": "multipart/form-data; boundary=limit"}
    connection.request("POST", "/api/recordings", head + content + b"\r\n--limit--\r\n", kind)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    if answer.status != 201:
        raise SystemExit(f"{name} was refused: {said}")
    return str(said["id"])


def many(url: str, pid: int, count: int) -> tuple[float, float, int, float]:
    """Seconds until all are sent, and until all are separated; how many are; the peak memory."""
    samples, rate = soundfile.read(EXAMPLE, start=80_000, stop=128_000)
    with tempfile.SpooledTemporaryFile() as file:
        soundfile.write(file, samples, rate, format="WAV")
        file.seek(0)
        content = file.read()
    memory = Memory(pid)
    memory.start()
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        ids = set(pool.map(lambda number: send(url, content, f"{number}.wav"), range(count)))
    sent = time.perf_counter() - began
    while True:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request("GET", "/api/recordings")
        ours = [one for one in json.loads(connection.getresponse().read()) if one["id"] in ids]
        if all(one["state"] in ("done", "failed") for one in ours):
            break
        time.sleep(0.5)
    taken = time.perf_counter() - began
    memory.ended.set()
    memory.join()
    whole = sum(one["state"] == "done" and one["n_samples"] == len(samples) for one in ours)
    return sent, taken, whole, memory.peak_mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--uploads", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, medians of {options.rounds}\n")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        recording = Path(folder) / "recording.wav"
        samples, rate = soundfile.read(EXAMPLE)
        soundfile.write(recording, np.resize(samples, round(options.minutes * 60 * rate)), rate)
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        with serving(Path(folder) / "data") as (url, pid):
            paints, hosts = zip(*(first_paint(browser, url) for _ in range(options.rounds)), strict=True)
            times = [playable(browser, url, recording) for _ in range(options.rounds)]
            shown, heard = map(statistics.median, zip(*times, strict=True))
        browser.close()
        with serving(Path(folder) / "many") as (url, pid):
            sent, taken, whole, peak_mb = many(url, pid, options.uploads)
    print("| | measured | promised |\n|---|---|---|")
    print(f"| first paint | {statistics.median(paints):.2f} s | {PAINT_S:g} s |")
    print(f"| hosts asked | {len(set().union(*hosts))} | 1 |")
    print(f"| {options.minutes:g} minutes, until tracks are shown | {shown:.1f} s | {PLAYABLE_S:g} s |")
    print(f"| the same, until they are heard | {heard:.1f} s | {PLAYABLE_S:g} s |")
    print(f"| {options.uploads} uploads at once, whole | {whole} | {options.uploads} |")
    print(f"| the same, until all are sent / separated | {sent:.1f} / {taken:.1f} s | |")
    print(f"| the same, peak memory of all processes | {peak_mb:.0f} MB | {MEMORY_MB:g} MB |")


if __name__ == "__main__":
    main()
