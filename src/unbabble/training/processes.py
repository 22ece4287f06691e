"""The processes that train one network together, as torchrun starts them, and the memory of each."""

import ctypes
import os
import platform
from dataclasses import dataclass

from unbabble.errors import TrainingError

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of glibc's mallopt, by their numbers there


@dataclass(frozen=True)
class Processes:
    """This one's number, the number of all, and of those on this machine; alone without torchrun."""

    rank: int = 0
    world: int = 1
    here: int = 1

    @classmethod
    def of_environment(cls) -> "Processes":
        """As torchrun tells each process."""
        named = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_WORLD_SIZE", 1))
        return cls(*(int(os.environ.get(name, alone)) for name, alone in named))

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    def share_of(self, batch_size: int) -> int:
        """Mixtures of a batch that each takes. Raises TrainingError where they cannot be shared evenly."""
        if batch_size % self.world:
            raise TrainingError(
                f"batch_size {batch_size} cannot be shared by {self.world} processes; "
                "choose a multiple of their number"
            )
        return batch_size // self.world


ALONE = Processes()


def keep_freed_memory() -> None:
    """Let this process keep what it frees for what it needs next.

    Else glibc hands the large blocks of every training step back to the system and asks for them again in the next,
    page by page. Costs memory: what was needed once is held. Where the C library is another, nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(TRIM_THRESHOLD, -1)
        library.mallopt(MMAP_MAX, 0)
