"""`OpenUnion`: a value that is one of several sections, of which any module may register more.

class ShapeConfig(OpenUnion):              # the union: annotate values with it
    members: ClassVar[Members] = {}
    kind: str

@ShapeConfig.register
class CircleConfig(ShapeConfig):           # a member, chosen by `kind: circle`
    kind: Literal["circle"]
    radius: float
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self, TypeVar, Union, get_args

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    TypeAdapter,
)

from recsys_mtl.config.section import Section

Members = dict[str, type[Section]]
_Member = TypeVar("_Member", bound=Section)


class OpenUnion(Section):
    """Base of a tagged union whose members are looked up when a value is validated.

    Errors, defaults, dumps and JSON Schema are those of a closed union of the same members.

    Attributes:
        members: section by tag, in the order of registration. The class that declares it is the
            union; classes derived from that one are its members.
    """

    members: ClassVar[Members]
    _adapter: ClassVar[TypeAdapter[Any] | None] = None

    @classmethod
    def register(cls, member: type[_Member]) -> type[_Member]:
        """Adds a section under the values of its tag's `Literal`; usable as a decorator.

        Raises:
            ValueError: another section has the tag.
        """
        tags = get_args(member.model_fields[cls.tag].annotation)
        for tag in tags:
            present = cls.members.get(tag, member)
            if present is not member:
                raise ValueError(f"{cls.__name__}: {cls.tag} '{tag}' is {present.__name__} already")
        cls.members.update(dict.fromkeys(tags, member))
        cls._adapter = None
        return member

    @classmethod
    def unregister(cls, member: type[Section]) -> None:
        """Removes a section, for tests."""
        for tag in [tag for tag, section in cls.members.items() if section is member]:
            del cls.members[tag]
        cls._adapter = None

    @classmethod
    def is_union(cls) -> bool:
        """Whether this is the union and not one of its members."""
        return "members" in vars(cls)

    @classmethod
    def _closed(cls) -> Any:
        """The union of the present members."""
        return Annotated[Union[tuple(cls.members.values())], Field(discriminator=cls.tag)]  # noqa: UP007

    @classmethod
    def _validated(cls, value: Any) -> Self:
        if cls._adapter is None:
            cls._adapter = TypeAdapter(cls._closed())
        member: Self = cls._adapter.validate_python(value)
        return member

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        if not cls.is_union():
            return handler(source)
        return handler.generate_schema(Annotated[Any, PlainValidator(cls._validated)])

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if cls.is_union():
            return handler(TypeAdapter(cls._closed()).core_schema)
        return super().__get_pydantic_json_schema__(schema, handler)
