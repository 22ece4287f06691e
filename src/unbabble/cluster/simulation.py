"""Mixtures made by the tasks of a cluster, into a folder that all nodes see, or one by URL."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from unbabble.base.output import ORIGIN
from unbabble.cluster.tasks import connected, in_tasks
from unbabble.cluster.urls import Folder, as_path, is_url
from unbabble.errors import CorpusError
from unbabble.sets.write import FACTS, Making, SetWriter

KNOWN = re.compile(r"\.jsonl?$")  # what a set states of itself

Made = tuple[
    tuple[str, ...], bytes
]  # what a SetWriter gives, and the facts of the mixture, which are empty without one


@contextmanager
def simulating(cluster: str, out: str) -> Iterator[tuple[Path, Making, Callable[[Path], str]]]:
    """A folder for a set, what makes its mixtures, and what tells how a user knows a file in the folder.

    Of a URL, the folder here is a mirror; what is written into it beside the mixtures is put there in the end, also
    where mixtures are missing.
    """
    with connected(cluster):
        if not is_url(out):
            yield as_path(out), in_tasks, str
            return
        folder = Folder(out)
        with tempfile.TemporaryDirectory(prefix="unbabble-") as scratch:
            here = Path(scratch, "set")
            here.mkdir()
            if folder.exists():
                folder.mirror(here, KNOWN)
            try:
                yield (
                    here,
                    lambda writer, numbers, jobs: _uploaded(writer, list(numbers), folder),
                    lambda path: f"{folder.url}/{path.relative_to(here).as_posix()}",
                )
            except CorpusError:
                _put_beside(folder, here)
                raise
            _put_beside(folder, here)


@dataclass(frozen=True)
class Uploader:
    """Renders one plan and puts its files."""

    writer: SetWriter
    url: str

    def __call__(self, index: int) -> Made:
        with tempfile.TemporaryDirectory(prefix="unbabble-") as scratch:
            lines = replace(self.writer, out=Path(scratch))(index)
            name = self.writer.plans.names[index]
            facts = Path(scratch, name, FACTS)
            if not facts.exists():
                return lines, b""
            signals = sorted(path for path in facts.parent.iterdir() if path != facts)
            Folder(self.url).put({f"{name}/{path.name}": path for path in (*signals, facts)})
            return lines, facts.read_bytes()


def _uploaded(writer: SetWriter, numbers: list[int], folder: Folder) -> Iterator[tuple[str, ...]]:
    """As the writer does it, but there; here, the folder of each mixture has its facts."""
    folder.put({ORIGIN: writer.out / ORIGIN})
    missing = [number for number in numbers if not (writer.out / writer.plans.names[number]).is_dir()]
    made = in_tasks(Uploader(writer, folder.url), missing, 1)
    for number in numbers:
        place = writer.out / writer.plans.names[number]
        if place.is_dir():
            yield ()
            continue
        lines, facts = next(made)
        if facts:
            place.mkdir()
            (place / FACTS).write_bytes(facts)
        yield lines


def _put_beside(folder: Folder, here: Path) -> None:
    mixtures = {facts.parent for facts in here.glob(f"*/{FACTS}")}
    beside = [path for path in sorted(here.rglob("*")) if path.is_file() and path.parent not in mixtures]
    if beside:
        folder.put({path.relative_to(here).as_posix(): path for path in beside})
