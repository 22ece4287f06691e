"""Models on the Hugging Face Hub: OWNER/NAME[@REVISION] becomes a folder of known files in the Hub's cache."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from unbabble.errors import MissingExtra, ModelError, in_one_line

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # else it is told what else is installed and who calls
os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # what matters comes as an exception

LARGEST = 2**31  # bytes of a file: ONNX, whose messages end there, has none that are larger
NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w-][\w./-]*))?")


class HubName(NamedTuple):
    """A repository, and a branch, tag or commit of it; None: its main branch."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def hub_name(text: str) -> HubName | None:
    """What a text names on the Hub; None where it is no such name."""
    found = NAME.fullmatch(text)
    return None if found is None else HubName(found["repository"], found["revision"])


def download(name: HubName, files: Collection[str], first: str, check: Callable[[Path], object]) -> Path:
    """The folder of a model in the cache, to which files that are missing there are fetched.

    Offline (``HF_HUB_OFFLINE=1``), and where the Hub cannot be reached, it is what the cache has.

    Parameters
    ----------
    files
        The names of files to take, none of which may be larger than LARGEST. All others stay where they are.
    first
        The one of them that tells whether the repository holds what is wanted. It is fetched before the others,
    check
        and this is called with the folder, and raises where it does not.

    Raises
    ------
    ModelError
        Where the model, or its revision, is not there or not for everybody, or the cache cannot hold it.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import DryRunError
    except ModuleNotFoundError:
        raise MissingExtra(f"getting {name}, which is no folder here, from the Hub", "hub") from None

    fetch = partial(snapshot_download, name.repository, revision=name.revision, tqdm_class=_bars(shown=False))
    with told(name):
        try:
            planned = fetch(allow_patterns=sorted(files), dry_run=True)
        except DryRunError:  # it cannot be reached; whether the cache has all is told below
            planned = None
        if planned is not None:
            _check_sizes(name, first, {file.filename: file.file_size for file in planned})
            _check_space(name, sum(file.file_size for file in planned if file.will_download))
            check(Path(fetch(allow_patterns=[first])))
        some_missing = planned is not None and any(file.will_download for file in planned)
        return Path(fetch(allow_patterns=sorted(files), tqdm_class=_bars(some_missing and sys.stderr.isatty())))


@contextmanager
def told(name: HubName) -> Iterator[None]:
    """What goes wrong between here and the Hub as a ModelError."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(f"{name}: {hub} gives it to those who ask for it on its page there; {log_in}") from None
    except errors.RevisionNotFoundError:
        raise ModelError(
            f"{name}: {hub} has no such revision of it; expected a branch, a tag or a commit, or no @REVISION"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{name}: no such folder here, and no such model on {hub}; check the name; if it is private, {log_in}"
        ) from None
    except errors.LocalEntryNotFoundError:
        raise ModelError(
            f"{name}: not whole in the cache {constants.HF_HUB_CACHE}, and {hub} is not reached; "
            "check the connection, and HF_HUB_OFFLINE"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        then = log_in if status in (401, 403) else "try again later"
        raise ModelError(f"{name}: {hub} refuses it: {in_one_line(error)}; {then}") from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
        raise ModelError(f"{name}: {hub} is not reached: {in_one_line(error)}; check the connection") from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None)
        if reason is None:  # those of Xet, by which the Hub moves large files
            raise ModelError(f"{name}: {hub} fails: {in_one_line(error)}; try again later") from None
        raise ModelError(
            f"{name}: cannot be kept in the cache {constants.HF_HUB_CACHE}: {reason}; "
            "check space and permissions, or set HF_HOME to another folder"
        ) from None
    except ValueError as error:  # of the name; of the page's front matter
        raise ModelError(f"{name}: {hub} does not take it: {in_one_line(error)}") from None


def _bars(shown: bool) -> type:
    """Progress bars of the Hub's library, which else shows some where there is nothing to wait for."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # the extra is not always there
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": not shown})

    return Bar


def _check_sizes(name: HubName, first: str, sizes: dict[str, int]) -> None:
    if first not in sizes:
        raise ModelError(f"{name}: not a model of unbabble: the repository has no {first}; choose another")
    for file, size in sizes.items():
        if size > LARGEST:
            raise ModelError(f"{name}: {file} has {size / 1e9:.1f} GB; expected at most {LARGEST / 1e9:.1f}")


def _check_space(name: HubName, needed: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    there = next(folder for folder in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if folder.is_dir())
    if needed > (free := shutil.disk_usage(there).free):
        raise ModelError(
            f"{name}: {needed / 1e6:.0f} MB are to be kept in the cache {HF_HUB_CACHE}, but {free / 1e6:.0f} MB are "
            "free; make room, or set HF_HOME to another disk"
        )
