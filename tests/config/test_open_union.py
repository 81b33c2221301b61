from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, ValidationError

from recsys_mtl.config.open_union import Members, OpenUnion
from recsys_mtl.config.section import Section
from recsys_mtl.config.shape import section_of, sections


class Shape(OpenUnion):
    members: ClassVar[Members] = {}
    kind: str


@Shape.register
class Circle(Shape):
    kind: Literal["circle"]
    radius: int = Field(1, ge=0)


@Shape.register
class Corners(Shape):
    kind: Literal["square", "triangle"]


class Triangle(Shape):
    kind: Literal["triangle"]


class Star(Shape):
    kind: Literal["star"]
    points: int


class Drawing(Section):
    shapes: dict[str, Shape]
    first: Shape = Circle(kind="circle")


class Closed(Section):
    shapes: dict[str, Annotated[Circle | Corners, Field(discriminator="kind")]]


@pytest.fixture
def star() -> Iterator[None]:
    Shape.register(Star)
    yield
    Shape.unregister(Star)


def test_a_value_is_the_section_that_its_tag_names() -> None:
    drawing = Drawing.model_validate({"shapes": {"a": {"kind": "circle", "radius": 2}}})
    assert drawing.shapes == {"a": Circle(kind="circle", radius=2)}
    assert drawing.model_dump()["first"] == {"kind": "circle", "radius": 1}
    assert Drawing.model_validate(drawing.model_dump()) == drawing
    assert Shape.model_validate({"kind": "square"}) == Corners(kind="square")
    assert Drawing(shapes={"a": drawing.shapes["a"]}) == drawing


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "circle", "radius": -1, "other": 1},
        {"kind": "oval"},
        {"kind": ["circle"]},
        {"radius": 1},
        5,
        {"kind": "star", "points": 5},
    ],
)
def test_errors_are_those_of_a_closed_union(value: object) -> None:
    errors = []
    for root in (Drawing, Closed):
        with pytest.raises(ValidationError) as caught:
            root.model_validate({"shapes": {"a": value}})
        errors.append([(e["loc"], e["type"]) for e in caught.value.errors()])
    assert errors[0] == errors[1]


def test_a_registered_member_is_accepted_everywhere_at_once(star: None) -> None:
    drawing = Drawing.model_validate({"shapes": {"a": {"kind": "star", "points": 5}}})
    assert drawing.shapes["a"] == Star(kind="star", points=5)
    assert list(sections(Shape)) == ["circle", "square", "triangle", "star"]
    assert section_of(Shape, {"kind": "star"}) is Star
    assert "Star" in Drawing.model_json_schema()["$defs"]


def test_json_schema_is_that_of_a_closed_union() -> None:
    open_union, closed_union = (
        json.dumps(r.model_json_schema()["$defs"]) for r in (Drawing, Closed)
    )
    assert open_union == closed_union
    open_union, closed_union = (
        r.model_json_schema()["properties"]["shapes"] for r in (Drawing, Closed)
    )
    assert open_union == closed_union


def test_a_tag_belongs_to_one_section() -> None:
    with pytest.raises(ValueError, match="Shape: kind 'triangle' is Corners already"):
        Shape.register(Triangle)
    assert Shape.register(Circle) is Circle
