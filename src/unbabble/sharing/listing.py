"""Which models there are: those that come with the package, those from the Hub in the cache, and folders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbabble.errors import ModelError
from unbabble.inference.model_folder import BUNDLED, CARD, FILES, kind_of, read_card, read_json

MODEL = "model"  # of a training run: the folder within it


@dataclass(frozen=True)
class Listed:
    """A model. use: what ``--model`` (of a diarizer, ``--diarizer``) takes; size in bytes."""

    use: str
    where: str
    card: dict[str, Any] = field(repr=False)
    size: int

    @property
    def kind(self) -> str:
        return str(kind_of(self.card))

    @property
    def license(self) -> str:
        return license_of(self.card)


@dataclass(frozen=True)
class Score:
    """A figure of a card: si_sdri or the like, of a row of a part of its scores."""

    part: str
    what: str
    row: str
    split: str
    figure: str
    count: int
    mean: float
    low: float
    high: float


def list_models(folders: Sequence[Path] = ()) -> tuple[Listed, ...]:
    """The models that come with the package, those in the Hub's cache, and those in some folders, at any depth."""
    bundled = (_listed(path.parent.name, "bundled", path.parent) for path in sorted(BUNDLED.glob(f"*/{CARD}")))
    own = (_listed(str(path.parent), "folder", path.parent) for top in folders for path in sorted(top.rglob(CARD)))
    return tuple(one for found in (bundled, _cached(), own) for one in found if one is not None)


def scores_of(card: dict[str, Any], figure: str = "si_sdri") -> Iterator[Score]:
    """What a card says of a figure, as far as it can be read: the rest was never ours."""
    for part, content in _items(card.get("scores")):
        for row, figures in _items(_get(content, "rows")):
            bounds = [_get(_get(figures, figure), key) for key in ("mean", "low", "high")]
            count = _get(figures, "count")
            if all(type(value) in (int, float) for value in (*bounds, count)):
                what, split = (str(_get(content, key) or "") for key in ("what", "split"))
                yield Score(part, what, row, split, figure, count, *bounds)


def license_of(card: dict[str, Any]) -> str:
    """Of the model; cards had the key in British spelling once."""
    return str(card.get("license") or card.get("licence") or "not stated")


def _cached() -> Iterator[Listed | None]:
    try:
        from huggingface_hub import CacheNotFound, scan_cache_dir
    except ModuleNotFoundError:  # without the extra there is nothing from the Hub
        return
    try:
        repositories = sorted(scan_cache_dir().repos, key=lambda repository: repository.repo_id)
    except CacheNotFound:
        return
    for repository in repositories:
        for revision in sorted(repository.revisions, key=lambda revision: revision.commit_hash):
            names = sorted(revision.refs) or [revision.commit_hash]
            for name in names:
                use = repository.repo_id if name == "main" else f"{repository.repo_id}@{name}"
                yield _listed(use, "hub", revision.snapshot_path)


def _listed(use: str, where: str, folder: Path) -> Listed | None:
    """None for a folder that is no model of ours."""
    try:
        card = read_json(folder / CARD)
        read_card(folder, kind_of(card))
        size = sum((folder / name).stat().st_size for name in FILES if (folder / name).exists())
    except (ModelError, OSError):
        return None
    return Listed(use, where, card, size)


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
