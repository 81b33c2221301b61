from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.data.batch import concat
from recsys_mtl.data.loader import Loader, MemoryLoader
from recsys_mtl.runs.importance import (
    MOST_ROWS,
    REPEATS,
    Importance,
    SampledLoader,
    affordable,
    importance,
)
from tests.encoded import data_spec, encoded

ROWS = 3_000
SPEC = data_spec(numeric=1, tables=[TableSpec("city", 9, 4)], lists=[TableSpec("seen", 9, 4)],
                 tasks=())  # fmt: skip


class Linear:
    """An evaluator of a model whose `click` is by x and whose `buy` is by the length of `seen`."""

    def __init__(self) -> None:
        self.tasks = [TaskSpec("click", "binary", 1), TaskSpec("buy", "regression", 1)]
        self.rows: list[int] = []

    def predicted(self, network: None, loader: Loader) -> Any:
        batch = concat(list(loader.epoch(0)))
        self.rows.append(batch.num_rows)
        labels = {task.name: batch.labels[:, i].numpy() for i, task in enumerate(self.tasks)}
        return labels, {"click": batch["x"][:, 0].numpy(), "buy": batch["seen"][1].numpy()}


def feature(name: str, *columns: str, derived: bool = False) -> Any:
    return SimpleNamespace(name=name, columns=columns or (name,), derived=derived)


FEATURES = [feature("x"), feature("city"), feature("seen")]


@pytest.fixture
def loader(rng: np.random.Generator) -> MemoryLoader:
    x, seen = rng.normal(size=ROWS), rng.integers(0, 5, ROWS)
    click = (rng.random(ROWS) < 1 / (1 + np.exp(-2 * x))).astype(float)
    buy = np.where(rng.random(ROWS) < 0.3, np.nan, seen + rng.normal(0, 0.5, ROWS))
    batch = encoded(
        SPEC,
        numeric=torch.from_numpy(x[:, None]).float(),
        ids=torch.from_numpy(rng.integers(0, 9, (ROWS, 1))),
        lists=[torch.zeros(int(seen.sum()), dtype=torch.int64)],
        lengths=torch.from_numpy(seen[:, None]),
        labels=torch.from_numpy(np.stack([click, buy], 1)).float(),
    )
    return MemoryLoader(batch, batch_size=512, shuffle=False, seed=0)


def of_training(loader: MemoryLoader, features: Any = FEATURES, **changed: Any) -> Any:
    settings = {"trained_rows": 1_000_000, "seed": 1} | changed
    sampled = SampledLoader(loader, Linear(), features, **settings)  # type: ignore[arg-type]
    passed, rows = list(sampled.epoch(0)), list(loader.epoch(0))
    assert all(map(torch.equal, *([b["x"] for b in batches] for batches in (passed, rows))))
    return sampled.importance(None)  # type: ignore[arg-type]


def test_what_a_prediction_depends_on_is_important(loader: MemoryLoader) -> None:
    state = torch.random.get_rng_state()
    measured = of_training(loader)
    assert torch.equal(torch.random.get_rng_state(), state), "no digit of anything else changes"
    assert (measured.rows, measured.drops.shape) == (MOST_ROWS, (2, 3, REPEATS))
    numbers = measured.numbers()
    assert (numbers["rows"], numbers["parts"]) == (MOST_ROWS, REPEATS)
    for task, used in (("click", "x"), ("buy", "seen")):
        first, *others = numbers["tasks"][task]
        assert first["feature"] == used
        assert 0.2 < first["low"] < first["drop"] < first["high"]
        assert all(of["drop"] == of["low"] == of["high"] == 0 for of in others)
    click = numbers["tasks"]["click"][0]["drop"]
    assert click == pytest.approx(np.mean(measured.drops[0, 0])), "auc falls to a half"
    assert numbers == of_training(loader).numbers()
    frame = measured.to_frame()
    assert frame.filter(task="click").row(0) == ("click", "x", *measured.to_frame().row(0)[2:])


def test_features_of_one_column_are_shuffled_together(loader: MemoryLoader) -> None:
    features = [feature("x", "raw"), feature("city", "raw", "more"), feature("seen", "more"),
                feature("seen.length", "seen", derived=True)]  # fmt: skip
    measured = of_training(loader, features)
    assert list(measured.features) == ["x + city + seen", "seen.length"]
    assert (measured.drops[:, 0].mean(axis=1) > 0.2).all()


@pytest.mark.parametrize(
    ("rows", "features", "trained", "widest", "expected"),
    [
        (3_000, 30, 1_000_000, 1, MOST_ROWS),
        (1_500, 30, 1_000_000, 1, 1_500),
        (3_000, 30, 450_000, 1, 900),
        (3_000, 30, 1_000, 1, 666),
        (3_000, 300, 1_000, 1, 0),
        (50, 300, 1_000, 1, 50),
        (3_000, 30, 1_000_000, 100_000, 200),
        (3_000, 0, 1_000_000, 1, 0),
        (19, 3, 1_000_000, 1, 0),
    ],
)
def test_it_costs_a_small_part_of_a_training(
    rows: int, features: int, trained: int, widest: int, expected: int
) -> None:
    assert affordable(rows, features, trained, widest) == expected


def test_what_is_undefined_has_no_number() -> None:
    drops = np.array([[[np.nan, np.nan], [0.5, np.nan]]])
    (first, second) = Importance(drops, ["t"], ["a", "b"], 4).numbers()["tasks"]["t"]
    assert first == {"feature": "b", "drop": 0.5, "low": None, "high": None}
    assert second == {"feature": "a", "drop": None, "low": None, "high": None}


def test_few_rows_have_few_parts(loader: MemoryLoader) -> None:
    rows = next(loader.epoch(0)).select(torch.arange(4))
    measured = importance(Linear(), None, rows, FEATURES, repeats=5, seed=0)  # type: ignore[arg-type]
    assert measured.drops.shape == (2, 3, 2)
