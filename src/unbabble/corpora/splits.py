"""Which names are in which split, from a JSON file."""

from pathlib import Path
from typing import Any

from unbabble.base.reading import from_json
from unbabble.errors import CorpusError


def read_splits(path: Path) -> dict[str, tuple[str, ...]]:
    """Names of the speakers and noises by split, from ``{split: {corpus: [name]}}`` or ``{split: [name]}``.

    Raises CorpusError where the file cannot be read or holds something else.
    """
    try:
        content = from_json(path.read_text(encoding="utf-8"))
        return {split: _names(value) for split, value in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(
            f"{path}: not a readable split file ({error}); expected {{split: {{corpus: [name]}}}}"
        ) from None


def _names(value: Any) -> tuple[str, ...]:
    lists = value.values() if isinstance(value, dict) else [value]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        raise TypeError("a split holds something that is no list of names")
    return tuple(name for names in lists for name in names)
