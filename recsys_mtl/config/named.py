"""Sections that a name alone may stand for: `loss: focal` means `loss: {name: focal}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Union, get_args

from pydantic import Discriminator, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue

from recsys_mtl.config.open_union import OpenUnion
from recsys_mtl.config.section import Section


class NamedConfig(Section):
    """One of several choices, distinguished by `name`; the name alone stands for its defaults."""

    tag: ClassVar[str] = "name"
    by_name: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {cls.tag: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        names = get_args(cls.model_fields[cls.tag].annotation)
        return {"anyOf": [*({"const": name} for name in names), handler(core)]}


def name_of(value: Any) -> Any:
    """The name in a value of a named section."""
    if isinstance(value, Mapping):
        return value.get("name")
    return value if isinstance(value, str) else getattr(value, "name", None)


class NamedUnion(OpenUnion, NamedConfig):
    """Base of an open union of sections that a name alone may stand for."""

    @classmethod
    def _closed(cls) -> Any:
        members = tuple(Annotated[section, Tag(name)] for name, section in cls.members.items())
        return Annotated[Union[members], Discriminator(name_of)]  # noqa: UP007
