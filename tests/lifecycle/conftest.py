"""A registry in memory that can fail at any call, and scores of made-up models."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pytest

from recsys_mtl.errors import wrong
from recsys_mtl.lifecycle import lock
from recsys_mtl.tasks.binary import BinaryLabel
from recsys_mtl.tasks.label import Label
from recsys_mtl.tasks.multiclass import MulticlassLabel
from recsys_mtl.tasks.regression import RegressionLabel
from recsys_mtl.tasks.retrieval import RetrievalLabel
from recsys_mtl.tracking.registry import Version
from recsys_mtl.training.evaluate import Scores

How = Literal["once", "for good", "answer lost"]


class FakeRegistry:
    """Versions 1 to 3 of `shop`; `fail` makes a call raise, counted from 1."""

    def __init__(self, champion: int | None = 1, previous: int | None = None) -> None:
        given = {"champion": champion, "previous": previous}
        self.aliases = {alias: number for alias, number in given.items() if number is not None}
        self.tags: dict[int, dict[str, str]] = {1: {}, 2: {}, 3: {}}
        self.own_tags: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.calls = 0
        self._fail: tuple[int, How] | None = None

    def fail(self, call: int, how: How) -> None:
        self.calls, self._fail = 0, (call, how)

    def heal(self) -> None:
        self._fail = None

    def state(self) -> Any:
        return copy.deepcopy((self.aliases, self.tags, self.own_tags, self.texts))

    def _call(self, work: Callable[[], Any]) -> Any:
        self.calls += 1
        call, how = self._fail or (0, "once")
        failing = self.calls == call or (how == "for good" and 0 < call <= self.calls)
        if failing and how != "answer lost":
            raise wrong("the server is down", where="fake")
        result = work()
        if failing:
            raise wrong("the answer is lost", where="fake")
        return result

    def _version(self, number: int) -> Version:
        aliases = tuple(sorted(alias for alias, n in self.aliases.items() if n == number))
        made = datetime(2026, 1, number, tzinfo=UTC)
        return Version(
            "shop", number, "run", f"models:/m-{number}", aliases, self.tags[number], made
        )

    def resolve(self, model: str, *, where: str) -> Version:
        number = model.removeprefix("shop/")
        return self._call(lambda: self._version(int(number)))

    def alias(self, name: str, alias: str) -> Version | None:
        def find() -> Version | None:
            number = self.aliases.get(alias)
            return None if number is None else self._version(number)

        return self._call(find)

    def set_alias(self, name: str, alias: str, number: int) -> None:
        self._call(lambda: self.aliases.update({alias: number}))

    def delete_alias(self, name: str, alias: str) -> None:
        self._call(lambda: self.aliases.pop(alias, None))

    def set_tags(self, name: str, number: int, tags: Mapping[str, str]) -> None:
        self._call(lambda: self.tags[number].update(tags))

    def set_model_tags(self, name: str, tags: Mapping[str, str]) -> None:
        self._call(lambda: self.own_tags.update(tags))

    def delete_model_tag(self, name: str, key: str) -> None:
        self._call(lambda: self.own_tags.pop(key, None))

    def model_tags(self, name: str) -> dict[str, str]:
        return self._call(lambda: dict(self.own_tags))

    def log_text(self, version: Version, file: str, text: str) -> None:
        self._call(lambda: self.texts.update({f"{version.number}/{file}": text}))


@pytest.fixture
def make_registry() -> type[FakeRegistry]:
    return FakeRegistry


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PAUSE", 0.001)


def encoders(**kinds: str) -> dict[str, Label]:
    """Label encoders by task, as if fitted."""
    made: dict[str, Callable[[str], Label]] = {
        "binary": lambda task: BinaryLabel(task, task),
        "regression": lambda task: RegressionLabel(task, task),
        "multiclass": lambda task: MulticlassLabel(
            task, task, classes=["a", "b", "c"], rates=[0.5, 0.25, 0.25]
        ),
        "retrieval": lambda task: RetrievalLabel(task, task, dim=2, items=["x", "y", "z"]),
    }
    return {task: made[kind](task) for task, kind in kinds.items()}


@pytest.fixture
def make_tasks() -> Callable[..., dict[str, Label]]:
    return encoders


def scores(
    labels: Mapping[str, Any], predictions: Mapping[str, Any], weights: Any = None
) -> Scores:
    """What evaluation gives of a model, without what a comparison does not read."""
    count = len(next(iter(labels.values())))
    return Scores(
        losses={},
        labelled={},
        metrics={},
        predictions={task: np.asarray(values) for task, values in predictions.items()},
        labels={task: np.asarray(values, np.float64) for task, values in labels.items()},
        weights=np.ones(count) if weights is None else np.asarray(weights),
        gates={},
    )


@pytest.fixture
def make_scores() -> Callable[..., Scores]:
    return scores
