"""Units of a study, one training each, and their results: strict JSON files, written atomically."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.reports.output import plain

UnitResult = Mapping[str, Any]
"""What is stored of a unit: its identity, then its numbers; null where one is not finite."""


class Unit(ABC):
    """One training of a study."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, str | int]:
        """What names it: first what is trained (an arm, a recipe's key), then seed and reruns."""

    @property
    def label(self) -> str:
        """For people: `off, seed 3`."""
        (_, trained), *rest = self.identity.items()
        return ", ".join([str(trained), *(f"{key} {value}" for key, value in rest)])

    def path(self, out: Path) -> Path:
        """The file of its result: `out`/units/off/seed-3.json."""
        (_, trained), *rest = self.identity.items()
        name = "-".join(f"{key}-{value}" for key, value in rest)
        return out / "units" / str(trained) / f"{name}.json"

    def same_settings(self, result: UnitResult) -> bool:
        """Whether a stored result was trained as this unit would be, as far as it records that."""
        del result
        return True


U = TypeVar("U", bound=Unit)


def missing(units: Sequence[U], out: Path) -> list[U]:
    """Those without a result."""
    return [unit for unit in units if not unit.path(out).exists()]


def stored(units: Sequence[U], out: Path) -> list[tuple[U, UnitResult]]:
    """Those with a result, in the order of `units`.

    Raises:
        UserError: a file is not the result of its unit.
    """
    return [(unit, _read(unit, path)) for unit in units if (path := unit.path(out)).exists()]


def store(unit: Unit, numbers: Mapping[str, Any], out: Path) -> UnitResult:
    """Write a unit's result and give it as it will be read."""
    result: UnitResult = plain({**unit.identity, **numbers})
    atomic_write(unit.path(out), json.dumps(result, allow_nan=False) + "\n")
    return result


def _read(unit: Unit, path: Path) -> UnitResult:
    try:
        result: UnitResult = json.loads(path.read_text())
        held = {key: result[key] for key in unit.identity}
        if held == unit.identity and unit.same_settings(result):
            return result
        content = _named(held)
    except (ValueError, KeyError, TypeError) as error:
        content = repr(error)
    raise wrong(
        "not the result of that run", where=str(path), expected=_named(unit.identity),
        found=content, fix="delete it, and run the same command again",
    )  # fmt: skip


def _named(identity: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in identity.items())
