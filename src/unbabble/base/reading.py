"""JSON and YAML from anywhere: plain values, or a ValueError of one line."""

import json
from typing import Any

from unbabble.errors import in_one_line

DEEPEST = 100  # lists and objects within one another: what comes after walks through them by recursion
UNFOLDED = 100  # values for each character, to which the aliases of YAML may unfold


def from_json(text: str | bytes) -> Any:
    """The value that a JSON text stands for.

    Raises
    ------
    ValueError
        Where it is no JSON, or nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep") from None
    return _bounded(value, len(text))


def from_yaml(text: str) -> Any:
    """The plain value that a YAML text stands for.

    Raises
    ------
    ValueError
        Where it is no YAML, asks for anything but plain values, is nested too deeply, or unfolds to too much.
    """
    import yaml  # not needed to separate, and not always there

    try:
        value = yaml.safe_load(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep") from None
    except Exception as error:  # yaml.YAMLError, and whatever a tag makes of a value that it is not for
        raise ValueError(in_one_line(error) or "a value that does not fit its tag") from None
    return _bounded(value, len(text))


def _bounded(value: Any, n_characters: int) -> Any:
    left, n_values = [(value, 0)], 0
    while left:
        item, depth = left.pop()
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
        inside = list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []
        n_values += len(inside)
        if n_values > UNFOLDED * n_characters:
            raise ValueError("its aliases unfold to too much")
        left.extend((one, depth + 1) for one in inside)
    return value
