"""`FittedState`: fitted values that travel as JSON with the model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self


@dataclass
class FittedState:
    """Base of everything fitted: its constructor's arguments are its complete state.

    A subclass that can be restored names itself by `kind`; fields with `init=False` are working
    memory of the fit and are not stored. Field values are JSON values or `FittedState`s.
    """

    kind: ClassVar[str]
    _classes: ClassVar[dict[str, type[FittedState]]] = {}

    def __init_subclass__(cls) -> None:
        if "kind" in vars(cls):
            FittedState._classes[cls.kind] = cls

    def to_dict(self) -> dict[str, Any]:
        """JSON-able state; lists are shared, not copied."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return {"kind": self.kind} | {
            name: value.to_dict() if isinstance(value, FittedState) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """The state that `to_dict` stored.

        Raises:
            TypeError: what was stored is not of this class.
        """
        values = {
            name: FittedState.from_dict(value) if isinstance(value, dict) else value
            for name, value in stored.items()
            if name != "kind"
        }
        restored = FittedState._classes[stored["kind"]](**values)
        if not isinstance(restored, cls):
            raise TypeError(f"stored {stored['kind']!r} is not a {cls.__name__}")
        return restored
