"""A server of ``unbabble serve`` in a process of its own, and a client for it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import soundfile
from conftest import RATE, speech

ENDED = ("done", "failed")
PATIENCE_S = 120  # of tests, after which something hangs
needs_web = [pytest.importorskip(name) for name in ("fastapi", "uvicorn", "python_multipart")]


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """Started at any port that is free; ``address`` is as it was printed."""

    def __init__(self, data: Path, *flags) -> None:
        command = [sys.executable, "-m", "unbabble", "serve", "--port", "0", "--data", data, *flags]
        self.errors = (data.parent / f"{data.name}.log").open("ab")
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=self.errors, text=True, start_new_session=True
        )
        self.address = self.process.stdout.readline().strip()
        assert self.address, Path(self.errors.name).read_text()
        self.port = urlsplit(self.address).port
        self.url = f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body=None, **headers) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers) -> Answer:
        return self.ask("GET", path, **headers)

    def send(self, content: bytes, name: str = "talk.wav", headers=None, **fields) -> Answer:
        """Upload a file as a browser does."""
        parts = [f'name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
        quoted = name.replace('"', "%22")
        parts.append(f'name="file"; filename="{quoted}"\r\nContent-Type: audio/wav\r\n\r\n'.encode() + content)
        body = b"".join(b"--limit\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
        kind = {"Content-Type": "multipart/form-data; boundary=limit"}
        return self.ask("POST", "/api/recordings", body + b"--limit--\r\n", **kind, **(headers or {}))

    def recording(self, id_: str, **headers) -> dict:
        return self.get(f"/api/recordings/{id_}", **headers).json

    def wait(self, id_: str, *states: str, **headers) -> dict:
        """The recording, once it is in one of the states, by default at its end."""
        for _ in range(PATIENCE_S * 20):
            view = self.recording(id_, **headers)
            if view["state"] in (states or ENDED):
                return view
            time.sleep(0.05)
        raise AssertionError(f"never {states or ENDED}: {view}")

    def separated(self, content: bytes, name: str = "talk.wav", **fields) -> dict:
        answer = self.send(content, name, **fields)
        assert answer.status == 201, answer.body
        view = self.wait(answer.json["id"])
        assert view["state"] == "done", view
        return view

    def kill(self) -> None:
        """As a crash does; returns when its workers have noticed, too."""
        self.process.kill()
        self.process.wait()
        for _ in range(600):
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
        raise AssertionError("workers outlive their server")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.errors.close()
        return code


@contextmanager
def serving(data: Path, *flags):
    server = Server(data, *flags)
    try:
        yield server
    finally:
        server.stop()


def write_speech(path: Path) -> Path:
    """Three seconds in which two talkers are heard."""
    soundfile.write(path, speech(), RATE)
    return path
