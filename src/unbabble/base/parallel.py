"""One function over many numbers in several processes, in order."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children
from typing import Any, TypeVar

from unbabble.errors import UnbabbleError

T = TypeVar("T")

_work: Callable[[int], Any] | None = None  # of a worker process: sent once, so that what it remembers is kept


def in_parallel(work: Callable[[int], T], numbers: Iterable[int], jobs: int) -> Iterator[T]:
    """``work`` of every number, in their order; in this process for one job.

    Workers end with the process that started them, however it ends, and with the caller's interest: what they are
    at then is ended by SystemExit. Raises what ``work`` raises, and UnbabbleError where a worker is killed.
    """
    if jobs == 1:
        yield from map(work, numbers)
        return
    others = set(active_children())
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(work,)) as pool:
        try:
            wanted = list(numbers)
            for n_done, result in enumerate(pool.map(_do, wanted), start=1):
                if n_done == len(wanted):
                    pool.shutdown()  # nobody is left to be ended by a caller that takes this and no more
                yield result
        except BrokenProcessPool:
            raise UnbabbleError(
                "a process was killed, probably for want of memory; choose fewer --jobs, and start again to go on"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(active_children()) - others:
                worker.terminate()
            raise


def _begin(work: Callable[[int], Any]) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who started us says what becomes of it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _do(index: int) -> Any:
    assert _work is not None
    return _work(index)
