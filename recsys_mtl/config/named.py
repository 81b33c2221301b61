"""Sections that a name alone may stand for, and keys that moved into such a section.

`loss: focal` means `loss: {name: focal}`, and `gamma: 2` next to it still means
`loss: {name: focal, gamma: 2}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, Union, get_args

from pydantic import Discriminator, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue

from recsys_mtl.config.open_union import OpenUnion
from recsys_mtl.config.section import Section
from recsys_mtl.config.shape import default_of, sections, tags


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


class MovedKeys(Section):
    """Base of a section with keys that moved into others; see `Section.moved`."""

    def idle(self) -> dict[str, str]:
        """Moved keys that nothing reads: key -> what would read it."""
        return {
            key: f"{home}: {tags(self._owner(key))[0]}"
            for key, home in self.moved.items()
            if getattr(self, key) is not None
        }

    @model_validator(mode="after")
    def _move(self) -> Self:
        """Move old keys to their new section; one without effect stays unless it is the default."""
        for key, home in self.moved.items():
            value, section, owner = getattr(self, key), getattr(self, home), self._owner(key)
            if value is None:
                continue
            default = default_of(owner.model_fields[key])
            if isinstance(section, owner):
                if getattr(section, key) not in (default, value):
                    raise ValueError(f"{key} is given twice: {key} and {home}.{key}")
                self.__dict__[home] = section.model_copy(update={key: value})
            elif value not in (default, self.stored.get(key)):
                continue
            self.__dict__[key] = None
        return self

    def _owner(self, key: str) -> type[Section]:
        """The section that has a moved key now."""
        choices = sections(type(self).model_fields[self.moved[key]].annotation).values()
        return next(section for section in choices if key in section.model_fields)
