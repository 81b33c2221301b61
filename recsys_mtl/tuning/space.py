"""Search spaces: config path -> the values that a trial may take there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys_mtl.ablation.arms import changed
from recsys_mtl.ablation.plan import as_overrides, tested_on
from recsys_mtl.config import Config
from recsys_mtl.config.explain import Finding
from recsys_mtl.config.override import value_at
from recsys_mtl.config.section import Section
from recsys_mtl.config.yaml_text import KeyPath
from recsys_mtl.errors import Problem, UserError, did_you_mean, relocated

_DIGITS = 6
"""Of a number that is drawn: more mean nothing, and a config is read by people."""

_NEVER = ("name", "seed", "tracking")
"""Keys that change no model, or the rows that trials are compared on."""


class FloatRange(Section):
    """A number."""

    kind: Literal["float"]
    low: float = Field(description="the smallest value")
    high: float = Field(description="the largest value")
    log: bool = Field(False, description="drawn evenly on a logarithmic scale")
    step: PositiveFloat | None = Field(None, description="distance of the values; null: any")


class IntRange(Section):
    """A whole number."""

    kind: Literal["int"]
    low: int = Field(description="the smallest value")
    high: int = Field(description="the largest value")
    log: bool = Field(False, description="drawn evenly on a logarithmic scale")
    step: PositiveInt = Field(1, description="distance of the values")


class Choices(Section):
    """One of some values, such as the widths of layers; they have no order."""

    kind: Literal["choice"]
    choices: list[bool | int | float | str | list[Any] | dict[str, Any] | None] = Field(
        description="the values"
    )


ParameterConfig = Annotated[FloatRange | IntRange | Choices, Field(discriminator="kind")]
Space = Mapping[str, FloatRange | IntRange | Choices]
Drawn = float | int | str
"""What the search draws: a number, or a choice as JSON."""


def findings(path: KeyPath, key: str, one: FloatRange | IntRange | Choices) -> Iterator[Finding]:
    """What is wrong with a parameter, whatever the config."""
    if key.partition(".")[0] in _NEVER:
        yield Finding(path, "not a key to tune", "keys of the model and its training")
        return
    if isinstance(one, Choices):
        texts = [json.dumps(choice, sort_keys=True) for choice in one.choices]
        if len(set(texts)) < 2:
            yield Finding((*path, "choices"), "nothing to choose", "two different values or more")
        elif len(set(texts)) < len(texts):
            yield Finding((*path, "choices"), "the same value twice")
        if "." not in key and any(isinstance(choice, dict) for choice in one.choices):
            yield Finding(path, "replaces a whole section", "keys of it, such as combiner.name")
        return
    ends = f"{one.low:g} to {one.high:g}"
    if one.low >= one.high:
        yield Finding(path, "an empty range", "low below high", ends)
    elif one.log and one.low <= 0:
        yield Finding((*path, "low"), "log needs positive values", "more than 0", f"{one.low:g}")
    elif one.log and one.step != (1 if isinstance(one, IntRange) else None):
        yield Finding(
            (*path, "step"), "log and step exclude each other", fix="leave one of them out"
        )
    elif one.step is not None and one.step > one.high - one.low:
        yield Finding((*path, "step"), "a step over the whole range", ends, f"{one.step:g}")


def edges(one: FloatRange | IntRange | Choices) -> list[Any]:
    """Values to try before the search: both ends, or all choices."""
    return list(one.choices) if isinstance(one, Choices) else [one.low, one.high]


def check_space(base: Config, space: Space, metrics: Sequence[str]) -> None:
    """Try every key at its edges, alone.

    Args:
        base: what trials change.
        space: of the tuning.
        metrics: by which trials are compared.

    Raises:
        UserError: all problems: unknown keys, values that the config refuses, and keys that would
            change the rows or labels that trials are compared on.
    """
    problems: list[Problem] = []
    for key, one in space.items():
        where = f"space.{key}"
        for value in edges(one):
            try:
                with relocated(partial(_at, where)):
                    config = changed(base, as_overrides({key: value}), where)
            except UserError as error:
                problems += [p for p in error.problems if p not in problems]
                continue
            if (problem := _incomparable(base, config, key, metrics)) is not None:
                problems.append(problem)
                break
    if problems:
        raise UserError(*problems)


def _at(where: str, own: str) -> str:
    return where


def _incomparable(base: Config, config: Config, key: str, metrics: Sequence[str]) -> Problem | None:
    where = f"space.{key}"
    if key == "training.recipe":
        fix = "tune the keys that it decides, such as model.members"
        return Problem("the recipe is decided before the search", where, fix=fix)
    if tested_on(config) != tested_on(base) or config.evaluation != base.evaluation:
        expected = "keys of the model and its training"
        return Problem("changes what trials are compared on", where, expected)
    if key.startswith("tasks.") and not key.endswith(".weight") and "loss" in metrics:
        fix = "choose metric: TASK/METRIC or per_task"
        return Problem("losses of different kinds cannot be compared", where, fix=fix)
    return None


def fits(base: Config, key: str, value: Any) -> bool:
    """Whether the config may have this value."""
    try:
        changed(base, as_overrides({key: value}), key)
    except UserError:
        return False
    return True


def decoded(space: Space, drawn: Mapping[str, Drawn]) -> dict[str, Any]:
    """Config path -> value, from what the search drew."""
    return {key: _value(space[key], drawn[key]) for key in space if key in drawn}


def _value(one: FloatRange | IntRange | Choices, drawn: Drawn) -> Any:
    if isinstance(one, Choices):
        return json.loads(str(drawn))
    if isinstance(one, IntRange):
        return int(drawn)
    return min(max(_rounded(float(drawn)), one.low), one.high)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def encoded(base: Config, space: Space) -> dict[str, Drawn] | None:
    """The base's own values, as the search draws them; None where it could not draw one."""
    data, own = base.model_dump(), dict[str, Drawn]()
    for key, one in space.items():
        try:
            value = value_at(data, key)
        except UserError:
            return None
        drawn = _drawn(one, value)
        if drawn is None:
            return None
        own[key] = drawn
    return own


def _drawn(one: FloatRange | IntRange | Choices, value: Any) -> Drawn | None:
    if isinstance(one, Choices):
        return next((choice(c) for c in one.choices if _same(c, value)), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not one.low <= value <= one.high or (
        _rounded(value) != value and value not in (one.low, one.high)
    ):
        return None
    steps = (value - one.low) / (one.step or 1)
    if one.step is not None and not one.log and not math.isclose(steps, round(steps), abs_tol=1e-9):
        return None
    return value


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def choice(value: Any) -> str:
    """A choice as the search knows it."""
    return json.dumps(value, ensure_ascii=False)


def known_keys(names: Sequence[str], known: Sequence[str], path: str) -> Iterator[Finding]:
    """Names that are not there, or there twice."""
    for index, name in enumerate(names):
        if name not in known:
            fix = did_you_mean(name, known)
            yield Finding((path, index), "no such ready-made space", found=name, fix=fix)
        elif name in names[:index]:
            yield Finding((path, index), "requested twice", found=name)
