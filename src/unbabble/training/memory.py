"""The memory of a process that trains."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of glibc's mallopt, by their numbers there


def keep_freed_memory() -> None:
    """Let this process keep what it frees for what it needs next.

    Else glibc hands the large blocks of every training step back to the system and asks for them again in the next,
    page by page. Costs memory: what was needed once is held. Where the C library is another, nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(TRIM_THRESHOLD, -1)
        library.mallopt(MMAP_MAX, 0)
