"""One function over many numbers in several processes, in order."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from unbabble.errors import UnbabbleError

T = TypeVar("T")

_work: Callable[[int], Any] | None = None  # of a worker process: sent once, so that what it remembers is kept


def in_parallel(work: Callable[[int], T], numbers: Iterable[int], jobs: int) -> Iterator[T]:
    """``work`` of every number, in their order.

    In this process for one job, and where this is a worker of a pool, which may have no workers of its own. Workers
    are spawned, since a fork would copy locks of threads that it does not copy. They end with the process that
    started them, however it ends, and with the caller's interest: what they are at then is ended by SystemExit.

    Parameters
    ----------
    work
        A function or an object that can be pickled.
    numbers
        What it is called with.
    jobs
        Processes.

    Raises
    ------
    UnbabbleError
        Where a worker is killed; else what ``work`` raises.
    """
    if jobs == 1 or multiprocessing.current_process().daemon:
        yield from map(work, numbers)
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(work, os.getpid())) as pool:
        try:
            wanted = list(numbers)
            with _program_left_alone(work):
                results = pool.map(_do, wanted)
            for n_done, result in enumerate(results, start=1):
                if n_done == len(wanted):
                    pool.shutdown()  # nobody is left to be ended by a caller that takes this and no more
                yield result
        except BrokenProcessPool:
            raise UnbabbleError(
                "a process was killed, probably for want of memory; choose fewer --jobs, and start again to go on"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise


@contextmanager
def _program_left_alone(work: Callable[[int], Any]) -> Iterator[None]:
    """Start workers that do not run the caller's program again, which may not expect that, and never hear Ctrl-C.

    Spawned processes import the program for the sake of what is defined in it; ``work`` hardly ever is.
    """
    program = vars(sys.modules["__main__"])
    names = () if work.__module__ == "__main__" else ("__spec__", "__file__")
    hidden = {name: program[name] for name in names if name in program}
    masks = hasattr(signal, "pthread_sigmask")  # POSIX; what is blocked here is blocked in processes started here
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
    try:
        program.update(dict.fromkeys(hidden))
        yield
    finally:
        program.update(hidden)
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)


def _begin(work: Callable[[int], Any], parent: int) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says what becomes of it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once it is no child of ``parent``, which may have been killed while this one started."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _do(index: int) -> Any:
    assert _work is not None
    return _work(index)
