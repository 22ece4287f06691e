"""Where networks run: on the processor, or on a device for which ONNX Runtime has a provider."""

from dataclasses import dataclass, field

from unbabble.errors import ArgumentError, ModelError

AUTO, CPU = "auto", "cpu"


@dataclass(frozen=True)
class Device:
    """provider: as ONNX Runtime calls it; package: that brings it, in place of ``onnxruntime``; at_once: windows that
    are worth running as one batch; settings: of the provider."""

    name: str
    provider: str
    package: str
    at_once: int = 8
    settings: dict[str, str] = field(default_factory=dict)


PROCESSOR = Device(CPU, "CPUExecutionProvider", "onnxruntime", at_once=1)
# Products of 32 bits as on a processor, not of 19; and no search for the fastest convolution at each new length.
CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
DEVICES = {
    CPU: PROCESSOR,
    "cuda": Device("cuda", "CUDAExecutionProvider", "onnxruntime-gpu[cuda,cudnn]", settings=CUDA),
    "coreml": Device("coreml", "CoreMLExecutionProvider", "onnxruntime, on macOS"),
    "directml": Device("directml", "DmlExecutionProvider", "onnxruntime-directml, on Windows"),
}
UNASKED = ("cuda", "directml")  # whose packages nobody installs but for a GPU; CoreML comes with every one for macOS


def check_device(name: str) -> None:
    """Raise ValueError for a name that is none."""
    if name not in (AUTO, *DEVICES):
        raise ArgumentError(f"device {name!r} is not one of {', '.join((AUTO, *DEVICES))}")


def find_device(name: str) -> Device:
    """A device by its name; "auto" is a GPU that ONNX Runtime can use, else the processor.

    Raises
    ------
    ValueError
        Where there is none of that name.
    ModelError
        Where the installed ONNX Runtime has no provider for it.
    """
    import onnxruntime

    check_device(name)
    there = onnxruntime.get_available_providers()
    if name == AUTO:
        return next((DEVICES[one] for one in UNASKED if DEVICES[one].provider in there), PROCESSOR)
    device = DEVICES[name]
    if device.provider not in there:
        raise ModelError(
            f"device {name}: ONNX Runtime as installed has no {device.provider}; pip uninstall onnxruntime, then "
            f"pip install {device.package}; or choose device {AUTO}"
        )
    if hasattr(onnxruntime, "preload_dlls") and name == "cuda":  # libraries of CUDA that pip has installed
        onnxruntime.preload_dlls()
    return device
