"""All methods of combining gradients and their options, from the registry and the config."""

from __future__ import annotations

from typing import Any, get_args

from pydantic.fields import FieldInfo

from recsys_mtl.config.combiner import CombinerConfig
from recsys_mtl.config.shape import options, sections
from recsys_mtl.gradients import COMBINERS

METHODS = tuple(COMBINERS)
SECTIONS = sections(CombinerConfig)


def choices(field: FieldInfo) -> list[Any]:
    """The values of a Literal."""
    return [value for option in options(field.annotation) for value in get_args(option)]


WHOLE = tuple(n for n, s in SECTIONS.items() if choices(s.model_fields["block"]) == ["all"])
"""Those that need the full gradients."""


def other_options(name: str) -> dict[str, Any]:
    """Every option of a method that is its own, with a value that is not the default."""
    fields, of_all = SECTIONS[name].model_fields, CombinerConfig.model_fields
    return {key: _other(field) for key, field in fields.items() if key not in of_all}


def _other(field: FieldInfo) -> Any:
    default = field.default
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return next(value for value in choices(field) if value != default)
    return default + 0.25 if isinstance(default, float) else (default or 0) + 7
