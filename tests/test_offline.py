"""Nothing leaves the machine: no socket is asked for, and nothing is written but results."""

import os
import subprocess
import sys

import pytest
from conftest import HAS_TORCH

FORBID_SOCKETS = """
import ctypes, platform, struct
SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]  # the system call
load_call, if_equal, kill, allow = (0x20, 0, 0, 0), (0x15, 0, 1, SOCKET), (6, 0, 0, 1 << 31), (6, 0, 0, 0x7FFF0000)
packed = [struct.pack("HBBI", *rule) for rule in (load_call, if_equal, kill, allow)]
rules = ctypes.create_string_buffer(b"".join(packed))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("rules", ctypes.c_void_p)]
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, 2, ctypes.byref(Program(4, ctypes.addressof(rules))), 0, 0) == 0  # PR_SET_SECCOMP
"""  # a seccomp filter, which native threads cannot pass either

SEPARATION = "import numpy, unbabble; unbabble.Separator()(numpy.zeros(16000), 16000)"


def without_sockets(program: str, home) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-c", FORBID_SOCKETS + program],
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forbids sockets as Linux does")
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(SEPARATION, id="separation"),
        pytest.param(
            "import unbabble.training.quantize",
            id="quantization",
            marks=pytest.mark.skipif(not HAS_TORCH, reason="needs the extra train"),
        ),
    ],
)
def test_onnx_runtime_reports_to_nobody(tmp_path, program):
    done = without_sockets(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forbids sockets as Linux does")
def test_a_socket_would_be_noticed(tmp_path):
    assert without_sockets("import socket; socket.socket()", tmp_path).returncode < 0
