from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest

from recsys_mtl import memory
from recsys_mtl.config.task_facts import larger_is_better
from recsys_mtl.metrics import Undefined, to_json
from recsys_mtl.tasks import KINDS, evaluate, kind_of
from recsys_mtl.tasks.evaluate import evaluate_task, metric_names


def predictions(kind: str, rows: int) -> np.ndarray:
    random = np.random.default_rng(0)
    if kind == "multiclass":
        return random.dirichlet(np.ones(3), rows)
    columns = {"retrieval": (4,), "customer_value": (2,)}.get(kind, ())
    return random.random((rows, *columns))


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_declared(kind: str) -> None:
    labels = np.array([0.0, 1, 1, 2]) if kind != "binary" else np.array([0.0, 1, 1, 0])
    metrics = evaluate_task(kind, labels, predictions(kind, 4))
    assert tuple(metrics) == metric_names(kind)
    assert all(isinstance(value, float) for value in metrics.values())
    for name in set(metrics) - {"calibration_ratio"}:
        assert isinstance(larger_is_better(name), bool)
    assert larger_is_better(kind_of(kind).main)
    assert {kind_of(kind).main, *kind_of(kind).section.summary} <= set(metrics)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("why", ["no rows", "no labels", "no weight"])
def test_nothing_to_measure(kind: str, why: str) -> None:
    rows = 0 if why == "no rows" else 3
    labels = np.full(rows, math.nan if why == "no labels" else 1.0)
    weights = np.full(rows, 0.0 if why == "no weight" else 1.0)
    metrics = evaluate_task(kind, labels, predictions(kind, rows), weights)
    assert tuple(metrics) == metric_names(kind)
    assert set(metrics.values()) == {Undefined("no labelled rows")}


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_and_weightless_rows_change_nothing(kind: str) -> None:
    p = predictions(kind, 8)
    labels = np.array([1.0, 0, 1, 1, 0, 1, 1, 0])
    weights = np.array([1.0, 2, 1, 3, 1, 1, 1, 1])
    expected = evaluate_task(kind, labels[:6], p[:6], weights[:6])
    p[6:] = math.nan
    labels[6], weights[7] = math.nan, 0.0
    assert evaluate_task(kind, labels, p, weights) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_in_a_file_have_the_same_metrics(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, labels = predictions(kind, 8), np.array([1.0, 0, 1, math.nan, 0, 1, 1, 0])
    expected = evaluate_task(kind, labels, p)
    for module in (memory, evaluate):
        monkeypatch.setattr(module, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(evaluate, "_PART", 3)
    mapped = memory.spacious(p.shape, p.dtype)
    mapped[:] = p
    assert evaluate_task(kind, labels, mapped) == expected


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_predictions_that_are_not_finite(kind: str) -> None:
    p = predictions(kind, 4)
    p[2] = math.nan
    metrics = evaluate_task(kind, np.array([0.0, 1, 0, 1]), p)
    assert set(metrics.values()) == {Undefined("some predictions are not finite")}


def test_json_form() -> None:
    text = json.dumps(to_json({"auc": Undefined("one class"), "log_loss": 0.25}))
    assert json.loads(text) == {
        "auc": {"value": None, "reason": "one class"},
        "log_loss": {"value": 0.25},
    }
    assert str(Undefined("one class")) == "undefined (one class)"


def test_a_million_rows_take_some_bytes_a_row() -> None:
    random = np.random.default_rng(0)
    p = random.random(1_000_000).astype(np.float32)
    labels = (random.random(1_000_000) < p).astype(np.float32)
    tracemalloc.start()
    try:
        metrics = evaluate_task("binary", labels, p)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert metrics["auc"] == pytest.approx(5 / 6, abs=0.002)
    assert most / len(p) < 200  # some vectors of float64; nothing by pairs of rows
