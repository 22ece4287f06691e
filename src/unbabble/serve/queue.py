"""Which recording is separated when, and how far each is."""

import signal
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from unbabble.errors import UnbabbleError
from unbabble.serve.separating import Models, Outcome
from unbabble.serve.settings import Refused, Settings
from unbabble.serve.store import ENDED, Recording, Store, folder_bytes
from unbabble.serve.worker import Killed, Task, Worker


@dataclass(frozen=True)
class Progress:
    """Of a recording that waits or is being separated.

    position: how many are before it; done: from 0 to 1; seconds_left: None where that cannot be told yet.
    """

    position: int | None = None
    done: float = 0.0
    seconds_left: float | None = None


class Queue:
    """Separates what it is given in as many processes as the settings say, in the order in which it came.

    What an interrupted server left is taken up first. ``close`` ends the processes, and leaves the rest to the next.
    """

    def __init__(self, store: Store, models: Models, settings: Settings) -> None:
        self._store, self._models, self._settings = store, models, settings
        self._changed = threading.Condition()
        self._waiting = deque(recording.id for recording in store.unfinished())
        self._running: dict[str, Worker] = {}
        self._progress: dict[str, tuple[float, float]] = {}  # when it was begun, how much is done
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(settings.jobs)]
        self._threads.append(threading.Thread(target=self._sweep, daemon=True))
        for thread in self._threads:
            thread.start()

    def put(self, recording: Recording) -> None:
        """Separate a recording after all others."""
        with self._changed:
            self._waiting.append(recording.id)
            self._changed.notify_all()

    def remove(self, id_: str) -> None:
        """Delete a recording, after whatever is being done with it has been ended. Raises Refused."""
        with self._changed:
            self._store.get(id_)
            with suppress(ValueError):
                self._waiting.remove(id_)
            if worker := self._running.get(id_):
                worker.end()
            self._changed.wait_for(lambda: id_ not in self._running)
        self._store.remove(id_)

    def progress(self, recording: Recording) -> Progress:
        """How far a recording is."""
        if recording.state in ENDED:
            return Progress(done=float(recording.state == "done"))
        with self._changed:
            with suppress(ValueError):
                return Progress(position=self._waiting.index(recording.id))
            began, done = self._progress.get(recording.id, (0.0, 0.0))
        left = (time.monotonic() - began) * (1 - done) / done if done else None
        return Progress(done=done, seconds_left=left)

    def running(self) -> int:
        """How many recordings are being separated."""
        with self._changed:
            return len(self._running)

    def close(self) -> None:
        """End all processes."""
        with self._changed:
            self._closed = True
            for worker in self._running.values():
                worker.end()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        """One process and what it is given, until the queue is closed."""
        if hasattr(signal, "pthread_sigmask"):  # what is blocked here is blocked in processes started here
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        worker = Worker(self._settings.threads)
        while (id_ := self._next(worker)) is not None:
            try:
                self._separate(id_, worker)
            except Killed:
                worker.end()
                if not self._closed:
                    worker = Worker(self._settings.threads)
            finally:
                with self._changed:
                    self._running.pop(id_)
                    self._progress.pop(id_, None)
                    self._changed.notify_all()
        worker.end()

    def _next(self, worker: Worker) -> str | None:
        """Wait for a recording, which this process has from now on; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            id_ = self._waiting.popleft()
            self._running[id_] = worker
            return id_

    def _separate(self, id_: str, worker: Worker) -> None:
        """Separate a recording and note what became of it. Raises Killed where the process is no more."""
        began = time.monotonic()

        def note(done: float) -> None:
            with self._changed:
                self._progress[id_] = began, done

        note(0.0)
        try:
            outcome = worker.run(self._task(self._store.begin(id_)), note)
        except Killed:
            with suppress(Refused):  # it is being deleted
                recording = self._store.get(id_)
                if self._closed:
                    self._store.update(id_, state="queued", starts=recording.starts - 1)
                else:
                    reason = "its process was killed, probably for want of memory; try again later"
                    self._note(id_, Outcome(f"{recording.name}: {reason}"))
            raise
        except (UnbabbleError, OSError) as error:
            outcome = Outcome(str(error))
        self._note(id_, outcome)

    def _note(self, id_: str, outcome: Outcome) -> None:
        state = "done" if outcome.error is None else "failed"
        with suppress(UnbabbleError):  # it was deleted meanwhile, or the disk is full, which the next start will find
            self._store.update(id_, state=state, error=outcome.error, notices=outcome.notices)

    def _task(self, recording: Recording) -> Task:
        folder = self._store.folder(recording.id)
        return Task(
            folder=str(folder),
            name=recording.name,
            options={name: value for name, value in recording.options.items() if name != "model"},
            model=self._models.place(recording.options),
            diarizer=self._settings.diarizer,
            max_hours=self._settings.limits.max_hours,
            most_bytes=folder_bytes(folder) + self._store.room_bytes() // self._settings.jobs,
        )

    def _sweep(self) -> None:
        """Delete what has been kept long enough."""
        pause_s = min(60.0, 900 * self._settings.limits.keep_hours)
        while not self._closed:
            for recording in self._store.expired(time.time()):
                with suppress(Refused):
                    self.remove(recording.id)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, pause_s)
