"""Windows that come one by one, run together: what waits when a device is free becomes one batch."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Work = Callable[[Samples, int | None, Any], Samples]


class Batches:
    """Runs ``work`` on one thread, for up to ``most`` mixtures of one length at a time.

    work: mixtures (batch, samples), how many sources, options whose ``terminate`` ends it -> estimates
    (batch, source, samples). Where the device is slower than those who ask, batches grow; where it is faster, nobody
    waits for one.
    """

    def __init__(self, work: Work, most: int, workers: ThreadPoolExecutor) -> None:
        self._work, self._most, self._workers = work, most, workers
        self._waiting: deque[Waiting] = deque()
        self._lock = threading.Lock()

    def submit(self, mixtures: Samples, n_sources: int | None) -> "Waiting":
        """Begin to separate mixtures (batch, samples)."""
        one = Waiting(mixtures, n_sources)
        with self._lock:
            self._waiting.append(one)
        self._workers.submit(self._run_next)
        return one

    def _run_next(self) -> None:
        """Run what waits, unless an earlier call has."""
        batch = self._take()
        if not batch:
            return
        try:
            together = np.concatenate([one.mixtures for one in batch])
            estimates = self._work(together, batch[0].n_sources, batch[0].begin(batch))
        except BaseException as error:
            for one in batch:
                one.future.set_exception(error)
            return
        ends = np.cumsum([len(one.mixtures) for one in batch])
        for one, part in zip(batch, np.split(estimates, ends[:-1]), strict=True):
            one.future.set_result(part)

    def _take(self) -> "list[Waiting]":
        batch: list[Waiting] = []
        with self._lock:
            while self._waiting and len(batch) < self._most and self._waiting[0].fits(batch):
                one = self._waiting.popleft()
                if one.future.set_running_or_notify_cancel():
                    batch.append(one)
        return batch


class Waiting:
    """Mixtures whose estimates are on their way."""

    def __init__(self, mixtures: Samples, n_sources: int | None) -> None:
        self.mixtures, self.n_sources = mixtures, n_sources
        self.future: Future[Samples] = Future()
        self._batch: list[Waiting] = []
        self._options: Any = None
        self._stopped = False

    def fits(self, batch: "list[Waiting]") -> bool:
        """Whether it can be run with others."""
        key = self.mixtures.shape[1], self.n_sources
        return not batch or key == (batch[0].mixtures.shape[1], batch[0].n_sources)

    def begin(self, batch: "list[Waiting]") -> Any:
        """What ends the run of a batch that this is the first of."""
        from onnxruntime import RunOptions

        options = RunOptions()
        options.log_severity_level = 4  # being stopped is no error
        for one in batch:
            one._batch, one._options = batch, options
        return options

    def result(self) -> Samples:
        """The estimates, once they are there; errors as of the work. Ctrl-C stops waiting for them."""
        try:
            return self.future.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Nobody waits for them any more: the run ends once that is true of the whole batch."""
        self._stopped = True
        self.future.cancel()
        if self._options is not None and all(one._stopped for one in self._batch):
            self._options.terminate = True
