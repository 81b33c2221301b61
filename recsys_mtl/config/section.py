"""The base of every section of a YAML file, and the types that many keys share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Value = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""A value of a column, as text; numbers and booleans need no quotes."""
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.\-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values finite and not coerced, frozen.

    Where a value may be one of several sections, the key `tag` names it.

    Attributes:
        tag: that key.
        by_name: whether a text alone means the section with that tag and defaults.
    """

    tag: ClassVar[str] = "kind"
    by_name: ClassVar[bool] = False

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
