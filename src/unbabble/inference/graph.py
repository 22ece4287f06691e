"""An ONNX graph as a function of arrays, of which nothing is believed that is not checked (ONNX Runtime)."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from unbabble.errors import ModelError, in_one_line
from unbabble.inference.devices import AUTO, PROCESSOR, Device, find_device

if TYPE_CHECKING:  # loaded with the first graph, since it takes a while
    from onnxruntime import InferenceSession, RunOptions

Array = NDArray[np.float32]
T = TypeVar("T")

Axes = tuple[str | int | None, ...]
"""Of an array: a name for an axis of any length, a number for one of that length, None for any axis."""

FLOATS = "tensor(float)"
LARGEST = 1e12  # of what a graph may give: recordings have samples of up to 1e8


class Graph:
    """An ONNX graph, run on the thread that calls it.

    Parameters
    ----------
    path
        The file.
    inputs, outputs
        Names of the arrays, float32, and their axes. Axes of one name have the same length wherever they occur.
    device
        Name of what runs it (``devices.find_device``); "auto" is the processor where a GPU does not start.

    Attributes
    ----------
    device : Device
        What runs it.

    Raises
    ------
    ModelError
        Where the graph cannot be loaded, or has other inputs and outputs, or the device does not start.
    ValueError
        Where there is no such device.
    """

    def __init__(
        self, path: Path, inputs: dict[str, Axes], outputs: dict[str, Axes], device: str = PROCESSOR.name
    ) -> None:
        self._path, self._inputs, self._outputs = path, inputs, outputs
        self._asked = device
        self._load()
        # A provider for a GPU need not bear several runs at once (DirectML), and is no faster with them.
        self._alone = nullcontext() if self.device is PROCESSOR else threading.Lock()
        self._check("inputs", self._session.get_inputs(), inputs)
        self._check("outputs", self._session.get_outputs(), outputs)

    def __call__(self, arrays: dict[str, Array], options: "RunOptions | None" = None) -> tuple[Array, ...]:
        """Run the graph.

        Parameters
        ----------
        arrays
            The inputs by name.
        options
            Their ``terminate``, set from another thread, ends the run.

        Returns
        -------
        tuple of arrays
            The outputs in their order, float32, and finite.

        Raises
        ------
        ModelError
            Where the graph fails, or gives arrays of other shapes, or what is no number.
        """
        if self._process != os.getpid():  # what ONNX Runtime holds may be locked for ever in a forked process
            self._load()
        try:
            with self._alone:
                results = self._session.run(list(self._outputs), arrays, options)
        except Exception as error:  # ONNX Runtime raises many kinds without a common base
            raise ModelError(f"{self._path}: failed ({in_one_line(error)}); get or export the model again") from None
        lengths: dict[str | int | None, int] = {}
        for name, axes in self._inputs.items():
            lengths |= zip(axes, arrays[name].shape, strict=True)
        for (name, axes), result in zip(self._outputs.items(), results, strict=True):
            expected = tuple(lengths.get(axis) if isinstance(axis, str) else axis for axis in axes)
            if not _fit(result.shape, expected):
                raise ModelError(f"{self._path}: gives {name} of shape {result.shape}; expected {_text(expected)}")
            lengths |= zip(axes, result.shape, strict=True)
            if not (np.abs(result) <= LARGEST).all():
                raise ModelError(f"{self._path}: gives {name} that are NaN or beyond {LARGEST:g}; get it again")
        return tuple(results)

    def _load(self) -> None:
        device = find_device(self._asked)
        try:
            self._session, self.device = self._opened(device), device
        except ModelError:
            if self._asked != AUTO or device is PROCESSOR:
                raise
            self._session, self.device = self._opened(PROCESSOR), PROCESSOR
        self._process = os.getpid()

    def _opened(self, device: Device) -> "InferenceSession":
        """A session whose steps run on a device, as far as its provider knows them. Raises ModelError."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # fatal only: errors come as exceptions
        options.intra_op_num_threads = 1
        options.enable_mem_pattern = False  # else a block of memory is kept for every length that comes
        if device is not PROCESSOR:
            onnxruntime.set_default_logger_severity(4)  # which libraries a provider lacks
        providers = [(device.provider, device.settings), *([] if device is PROCESSOR else [PROCESSOR.provider])]
        try:
            session = onnxruntime.InferenceSession(self._path, options, providers=providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime raises many kinds without a common base
            on = "" if device is PROCESSOR else f" on device {device.name}"
            raise ModelError(
                f"{self._path}: not a graph that ONNX Runtime can load{on} ({in_one_line(error)})"
            ) from None
        if device.provider not in session.get_providers():
            raise ModelError(
                f"device {device.name}: {device.provider} does not start; check the GPU, its driver and libraries "
                f"(pip install {device.package}), or choose device {AUTO}"
            )
        return session

    def _check(self, what: str, found: Any, expected: dict[str, Axes]) -> None:
        """Raise ModelError where arrays as the graph states them are not as expected."""
        wrong = {one.name for one in found} != set(expected)
        wrong = wrong or any(one.type != FLOATS or not _fit(one.shape, expected[one.name]) for one in found)
        if wrong:
            given = ", ".join(f"{one.name} {_text(one.shape)} {one.type}" for one in found)
            wanted = ", ".join(f"{name} {_text(axes)} {FLOATS}" for name, axes in expected.items())
            raise ModelError(f"{self._path}: has the {what} {given}; expected {wanted}; export the model again")


class Run(Generic[T]):
    """Work with graphs that goes on beside, on a thread of ``workers``, until it is done or stopped."""

    def __init__(self, workers: ThreadPoolExecutor, work: "Callable[[RunOptions], T]") -> None:
        from onnxruntime import RunOptions

        self._options = RunOptions()
        self._options.log_severity_level = 4  # being stopped is no error
        self._future = workers.submit(work, self._options)

    def result(self) -> T:
        """What the work gives, once it is done. Raises what the work raises; Ctrl-C, for one, stops the work."""
        try:
            return self._future.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the work, at the latest before its next step; nobody may wait for its result any more."""
        self._future.cancel()
        self._options.terminate = True


def interruptible(work: "Callable[[RunOptions], T]") -> T:
    """What ``work`` gives: on this thread, ONNX Runtime would keep Ctrl-C waiting until it is done."""
    with ThreadPoolExecutor(1, thread_name_prefix="unbabble") as worker:
        return Run(worker, work).result()


def _fit(found: Sequence[str | int | None], expected: Axes) -> bool:
    """Whether axes as a graph states them, or as they are, can be those expected."""
    return len(found) == len(expected) and all(
        not isinstance(there, int) or wanted is None or there == wanted
        for there, wanted in zip(found, expected, strict=True)
    )


def _text(axes: Any) -> str:
    return f"({', '.join('any' if axis is None else str(axis) for axis in axes)})"
