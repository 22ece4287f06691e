"""A process that separates one recording after another, so that whatever a file does to it, the server lives."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from unbabble.base.reading import from_json
from unbabble.errors import OutputError, UnbabbleError, in_one_line
from unbabble.serve.lanes import write_mixture, write_peaks
from unbabble.serve.separating import Outcome, SeparatorOf, separate_file
from unbabble.serve.store import MIXTURE, PEAKS, RESULT, SOURCE, folder_bytes, remove_results

LOOKS_S = 0.5  # between two looks at the disk, and two words about the progress
SEPARATED = 0.95  # of the work, when the tracks are there


@dataclass(frozen=True)
class Task:
    """A recording to separate. folder: has ``source`` and gets all else; most_bytes: what may lie there then."""

    folder: str
    name: str
    options: dict[str, Any]
    model: str
    diarizer: str
    max_hours: float
    most_bytes: int


class Killed(Exception):
    """The process ended before its task."""


class Worker:
    """Starts the process, and ends it. They talk in JSON: nothing is unpickled that a file has had a hand in."""

    def __init__(self, threads: int | None) -> None:
        context = get_context("spawn")  # a fork would copy locks of threads that it does not copy
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, task: Task, progress: Callable[[float], None]) -> Outcome:
        """Separate a recording; ``progress`` is told how much is done, from 0 to 1. Raises Killed."""
        try:
            _send(self._pipe, asdict(task))
            while "done" in (told := from_json(self._pipe.recv_bytes())):
                progress(float(told["done"]))
        except (EOFError, OSError):
            raise Killed from None
        return Outcome(told["error"], tuple(told["notices"]))

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.join()


def _send(pipe: "Connection[bytes, bytes]", message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _serve(pipe: "Connection[bytes, bytes]", threads: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the server, which ends us
    threading.Thread(target=_end_with_server, daemon=True).start()
    separator_of = SeparatorOf(threads)
    while True:
        try:
            task = Task(**from_json(pipe.recv_bytes()))
        except EOFError:
            return
        _send(pipe, asdict(_separated(task, separator_of, lambda done: _send(pipe, {"done": done}))))


def _end_with_server() -> None:
    """However it ends: what is written here is begun again by the next."""
    server = parent_process()
    assert server is not None
    connection.wait([server.sentinel])
    os._exit(1)


def _separated(task: Task, separator_of: SeparatorOf, tell: Callable[[float], None]) -> Outcome:
    """All that there is to do for a recording; errors are told without the server's names for it."""
    try:
        outcome = _separate(task, separator_of, tell)
    except UnbabbleError as error:
        outcome = Outcome(in_one_line(str(error).replace(task.folder, task.name)))
    except Exception as error:  # a defect of ours must not cost the others
        outcome = Outcome(f"{task.name}: unexpected {type(error).__name__}: {error}; please report it")
    if outcome.error is not None:
        remove_results(Path(task.folder))
    return outcome


def _separate(task: Task, separator_of: SeparatorOf, tell: Callable[[float], None]) -> Outcome:
    """Tracks, then what the page shows of them."""
    folder, told_at = Path(task.folder), time.monotonic()

    def progress(done: float, total: float | None) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > LOOKS_S:
            told_at = time.monotonic()
            _check_room(task)
            if total:
                tell(SEPARATED * min(1.0, done / total))

    outcome = separate_file(
        folder / SOURCE,
        folder / RESULT,
        task.options,
        name=task.name,
        model=task.model,
        diarizer=task.diarizer,
        max_hours=task.max_hours,
        separator_of=separator_of,
        progress=progress,
    )
    if outcome.error is None:
        tell(SEPARATED)
        channel = task.options.get("channel", "mix")
        write_mixture(folder / SOURCE, folder / MIXTURE, None if channel == "mix" else channel - 1, task.max_hours)
        tracks = sorted((folder / RESULT).glob("speaker*"), key=lambda track: int(track.stem.removeprefix("speaker")))
        write_peaks([folder / MIXTURE, *tracks], folder / PEAKS)
        _check_room(task)
    return outcome


def _check_room(task: Task) -> None:
    if folder_bytes(Path(task.folder)) > task.most_bytes:
        raise OutputError(f"{task.name}: its tracks do not fit on the server's disk; delete some recordings")
