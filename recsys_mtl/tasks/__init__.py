"""Kinds of tasks: one file a kind has everything about it; other code gets a kind here by name."""

from __future__ import annotations

from typing import Any

from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.tasks.binary import Binary
from recsys_mtl.tasks.count import Count
from recsys_mtl.tasks.customer_value import CustomerValue
from recsys_mtl.tasks.kind import Boosting, Kind, ToUnit
from recsys_mtl.tasks.label import Label
from recsys_mtl.tasks.multiclass import Multiclass
from recsys_mtl.tasks.regression import Regression
from recsys_mtl.tasks.retrieval import Retrieval

KINDS: dict[str, Kind[Any]] = {}
"""Every kind by its name in configs and saved models."""


def register(kind: Kind[Any]) -> None:
    """Adds a kind: a config may name it, and all packages use it.

    Raises:
        ValueError: another kind has its name.
    """
    TaskConfig.register(kind.section)
    KINDS[kind.name] = kind


def unregister(kind: Kind[Any]) -> None:
    """Removes a kind, for tests."""
    TaskConfig.unregister(kind.section)
    del KINDS[kind.name]


def kind_of(name: str) -> Kind[Any]:
    """The kind of that name."""
    return KINDS[name]


for _kind in (Binary(), Multiclass(), Regression(), Retrieval(), Count(), CustomerValue()):
    register(_kind)

__all__ = ["KINDS", "Boosting", "Kind", "Label", "ToUnit", "kind_of", "register", "unregister"]
