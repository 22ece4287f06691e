"""Ray tasks: a cluster for the length of a block, and one function over many numbers, in order and bounded."""

import logging
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from unbabble.errors import ClusterError, MissingExtra, UnbabbleError, in_one_line

T = TypeVar("T")

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports to its makers where it is started

LOCAL = "local"
LOOKS_S = 1.0  # between two looks whether the head of the cluster is there
MOST_MISSED = 3  # of them, in which it was not
ANSWERS_S = 5.0
GROUP = 16  # numbers in a task
RETRIES = 5  # of a task whose worker died

_works: dict[bytes, Callable[[int], Any]] = {}  # of this worker


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A cluster: "auto" is the one that runs here, or that RAY_ADDRESS names; "local" is started and ended again.

    One that the program is connected to already stays. Raises MissingExtra, ClusterError.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingExtra("a cluster (ray)", "cluster") from None
    if ray.is_initialized():
        yield
        return
    start = {"include_dashboard": False} if address == LOCAL else {}
    try:
        if address != LOCAL:
            _check_answers(address)
        _keep_quiet()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Ray's client warns of, it raises, too
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **start)
    except Exception as error:  # of the client gRPC's, of the rest anything
        raise ClusterError(
            f"cluster {address}: cannot be reached ({in_one_line(error)}); start one with `ray start --head`, give "
            f"the address of its head as ray://HOST:10001, or take {LOCAL}; where it has a token, set "
            "RAY_AUTH_MODE=token"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def in_order(
    submit: Callable[[int], Any], count: int, most: int, failed: Callable[[int, UnbabbleError], T]
) -> Iterator[T]:
    """What tasks give, in the order of their numbers.

    Parameters
    ----------
    submit
        Begins the task of a number; gives its reference.
    count
        Numbers there are, from 0.
    most
        Tasks under way at once.
    failed
        What stands in place of a result where a task was begun again too often: its worker died every time.

    Raises
    ------
    ClusterError
        Where the cluster is gone.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    under_way: dict[Any, int] = {}
    done: dict[int, T] = {}
    n_submitted = 0
    head = Head()
    try:
        for number in range(count):
            while number not in done:
                while n_submitted < count and len(under_way) < most:
                    under_way[submit(n_submitted)] = n_submitted
                    n_submitted += 1
                ready, _ = ray.wait(list(under_way), timeout=LOOKS_S)
                head.check()
                if not ready:
                    continue
                index = under_way.pop(ready[0])
                try:
                    done[index] = ray.get(ready[0])
                except RayTaskError as error:
                    raise _told(error) from None
                except RayError as error:
                    done[index] = failed(index, _lost(error))
            yield done.pop(number)
    except (ConnectionError, RuntimeError, SystemError) as error:  # of Ray's client
        raise ClusterError(f"the cluster is gone ({in_one_line(error)}); start it and this again to go on") from None
    finally:
        for reference in under_way:
            _cancel(reference)


def in_tasks(work: Callable[[int], T], numbers: Iterable[int], jobs: int) -> Iterator[T]:
    """``work`` of every number, in their order, as ``base.parallel.in_parallel``, on the cluster.

    Numbers go in groups, since a task costs more than many a work; a worker keeps ``work`` and what that remembers.
    jobs: has no meaning here; the cluster has its processors. Raises what ``work`` raises, and ClusterError.
    """
    import ray

    every = list(numbers)
    groups = [every[start : start + GROUP] for start in range(0, len(every), GROUP)]
    kept, key = [ray.put(work)], os.urandom(8)
    do = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_do)

    def submit(number: int) -> Any:
        return do.remote(kept, key, groups[number])

    def failed(_number: int, error: UnbabbleError) -> list[T] | UnbabbleError:
        return error

    for results in in_order(submit, len(groups), 2 * n_processors(), failed):
        if isinstance(results, UnbabbleError):
            raise results
        yield from results


def _do(kept: list[Any], key: bytes, numbers: Sequence[int]) -> list[Any] | UnbabbleError:
    import ray

    if key not in _works:
        _works.clear()
        _works[key] = ray.get(kept[0])
    try:
        return [_works[key](number) for number in numbers]
    except UnbabbleError as error:
        return error


class Head:
    """The head of the cluster: without it, Ray waits for a minute and then ends the program."""

    def __init__(self) -> None:
        import ray
        from ray.util.client import ray as client

        self._address = None if client.is_connected() else str(ray.get_runtime_context().gcs_address)
        self._missed, self._looked = 0, time.monotonic()

    def check(self) -> None:
        """Raise ClusterError where it has not answered several times."""
        if self._address is None or time.monotonic() - self._looked < LOOKS_S:
            return
        self._looked = time.monotonic()
        try:
            _check_answers(self._address)
            self._missed = 0
        except OSError as error:
            self._missed += 1
            if self._missed == MOST_MISSED:
                raise ClusterError(
                    f"the cluster is gone: its head {self._address} does not answer ({in_one_line(error)}); start "
                    "it, and then this again to go on"
                ) from None


def n_processors() -> int:
    """Of the whole cluster."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _check_answers(address: str) -> None:
    """Raise OSError where nobody answers at an address, a host and a port, on which Ray would wait for minutes."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or canonicalize_bootstrap_address_or_die("auto")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        raise ConnectionError(f"{address} has no port")
    socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_S).close()


def _keep_quiet() -> None:
    """Keep Ray from printing to standard output what becomes of workers that died: they are begun again."""
    from ray._private import worker

    worker.listen_error_messages = lambda *_: None


def _told(error: Any) -> ClusterError:
    """What a task raised that it ought not to."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, ModuleNotFoundError) or "No module named" in str(error):
        return ClusterError(
            "a worker of the cluster lacks a package that is here; install the same unbabble, with its extra "
            f"cluster, on every node ({in_one_line(cause)[-200:]})"
        )
    return ClusterError(f"a task failed: unexpected {type(cause).__name__}: {in_one_line(cause)}; please report it")


def _lost(error: Exception) -> ClusterError:
    from ray.exceptions import OutOfMemoryError

    why = "for want of memory" if isinstance(error, OutOfMemoryError) else type(error).__name__
    return ClusterError(f"its worker died again and again ({why}); give nodes more memory, and start again to go on")


def _cancel(reference: Any) -> None:
    import ray

    with suppress(Exception):  # the cluster is gone, or the task is done
        ray.cancel(reference, force=True)
