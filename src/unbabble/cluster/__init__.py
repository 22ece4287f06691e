"""Recordings and mixtures spread over a Ray cluster, from and to any storage that fsspec knows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unbabble.base.progress import UNWATCHED, Progress
from unbabble.cluster.separation import Spread, separate_on
from unbabble.files import Options, Outcome

__all__ = ["Spread", "separate", "separate_on"]


def separate(
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    cluster: str = "auto",
    spread: Spread | None = None,
    progress: Progress = UNWATCHED,
    **options: Any,
) -> list[Outcome]:
    """Separate files, folders and URLs on a Ray cluster; every input is tried, whatever became of the others.

    Parameters
    ----------
    inputs
        Audio and video files, and folders that are walked: paths that all nodes see, or URLs (``s3://bucket/folder``).
    out
        Folder for the results: likewise.
    cluster
        Address of the cluster: "auto" is the one that runs here, "local" one that is started here and ended again.
    spread
        How much is under way at once, and what is done again.
    progress
        Told what goes on.
    **options
        As of ``unbabble.separate``; ``threads`` are those of one task, by default 1.

    Returns
    -------
    list of Outcome
        One for each recording, in order: what was written, or what is wrong with it.

    Raises
    ------
    MissingExtra, ClusterError
        Without the extra ``cluster``; where the cluster is not there, or gone.
    ModelError, OutputError, AudioError, ValueError
        As ``unbabble.separate``; where a folder cannot be listed.

    Examples
    --------
    >>> separate("s3://in/meetings", "s3://out/tracks", cluster="ray://head:10001")  # doctest: +SKIP
    """
    given = [inputs] if isinstance(inputs, str | Path) else inputs
    chosen = Options(**options)
    with separate_on(cluster, [str(one) for one in given], str(out), chosen, spread or Spread(), progress) as found:
        return list(found[1])
