"""YAML files into frozen dataclasses that refuse unknown keys."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from unbabble.base.reading import from_yaml
from unbabble.errors import RecipeError

T = TypeVar("T")


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"a range goes from low to high, not from {bounds[0]} to {bounds[1]}")
    return bounds


Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[Finite, Finite], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]
FractionRange = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose fields are checked and whose unknown keys are refused."""
    return dataclass(frozen=True, config=ConfigDict(extra="forbid"))(cls)  # type: ignore[return-value]


def renamed(**names: str) -> Any:
    """For the body of a class of settings: keys that are still read by their old names, ``old="new"``.

    Where both are given, the last counts: a change on the command line, or a key after those of an anchor.
    """

    def rename(cls: type, values: Any) -> Any:
        return {names.get(key, key): value for key, value in values.items()} if isinstance(values, dict) else values

    return model_validator(mode="before")(classmethod(rename))  # type: ignore[arg-type]


def read_settings(cls: type[T], path: Path) -> T:
    """Read a YAML file as ``cls``. Raises RecipeError with every key that is wrong, one a line."""
    return parse_settings(cls, read_yaml(path), source=str(path))


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file. Raises RecipeError where there is none, or it is none."""
    try:
        values = from_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file") from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: not a readable YAML file: {error}") from None
    return values if values is not None else {}


def parse_settings(cls: type[T], values: Any, source: str) -> T:
    """Check plain values (dicts, lists, numbers) as ``cls``; ``source`` names them in errors."""
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        wrong = "; ".join(_describe(detail) for detail in error.errors())
        raise RecipeError(f"{source}: {wrong}") from None


def dump_settings(value: Any) -> Any:
    """The plain values (fit for JSON) from which ``parse_settings`` makes an equal object."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def kind_given(default: str | None = None) -> BeforeValidator:
    """For a union told apart by ``kind``: a name alone means ``{kind: name}``; where none is given, ``default``."""

    def complete(value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        return {"kind": default, **value} if default and isinstance(value, dict) else value

    return BeforeValidator(complete)


def _describe(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "the file"
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where} is not a key that anything reads"
    if detail["type"] == "union_tag_not_found":
        return f"{where}: give its kind"
    if detail["type"] == "union_tag_invalid":
        return f"{where}: there is no kind {detail['ctx']['tag']!r}; expected {detail['ctx']['expected_tags']}"
    return f"{where}: {detail['msg'].removeprefix('Value error, ')}"
