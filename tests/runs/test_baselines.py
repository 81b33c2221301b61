from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.metrics import Undefined
from recsys_mtl.runs import baselines
from recsys_mtl.runs.baselines import constant, gradient_boosting
from recsys_mtl.tasks import Boosting
from recsys_mtl.tasks.evaluate import evaluate_task
from tests.encoded import data_spec, encoded

TASKS = (
    TaskSpec("click", "binary", 1),
    TaskSpec("band", "multiclass", 4),
    TaskSpec("spend", "regression", 1),
    TaskSpec("item", "retrieval", 8, items=5),
)
SPEC = data_spec(
    tables=(TableSpec("city", 12, 4), TableSpec("shop", 1000, 4)),
    lists=(TableSpec("seen", 20, 4),),
    numeric=3,
    tasks=TASKS,
)
INVERSES = {task.name: lambda values: values for task in TASKS}
INVERSES["spend"] = lambda values: 10 * values + 100


def rows(count: int, seed: int) -> Batch:
    """Labels that depend on a category, a number, an id and a list, none of them linearly."""
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(count, 3)).astype(np.float32)
    ids = np.column_stack([random.integers(0, 12, count), random.integers(0, 1000, count)])
    lengths = random.integers(0, 4, count)
    lists = random.integers(0, 20, int(lengths.sum()))
    first = np.full(count, -1)
    first[lengths > 0] = lists[(np.cumsum(lengths) - lengths)[lengths > 0]]
    odd_city = ids[:, 0] % 2
    labels = np.column_stack(
        [
            (odd_city + random.normal(0, 0.3, count) > 0.5),
            (numeric[:, 0] > 0) + 2 * (ids[:, 1] > 500),
            (first % 2) + lengths + random.normal(0, 0.1, count),
            random.choice([0, 1, 2, 3, 4], count, p=[0.1, 0.1, 0.5, 0.2, 0.1]),
        ]
    ).astype(np.float32)
    labels[random.random(labels.shape) < 0.2] = math.nan
    return encoded(
        SPEC,
        numeric=torch.from_numpy(numeric),
        ids=torch.from_numpy(ids),
        lists=(torch.from_numpy(lists),),
        lengths=torch.from_numpy(lengths[:, None]),
        labels=torch.from_numpy(labels),
        weights=torch.from_numpy(random.integers(0, 3, count).astype(np.float32)),
    )


def with_labels(batch: Batch, labels: torch.Tensor) -> Batch:
    return replace(batch, labels=labels)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """OpenMP's threads wait for each other at every split: a busy machine is 50 times slower."""
    with threadpool_limits(1, "openmp"):
        yield


TRAIN, VALID, TEST = rows(1500, 0), rows(400, 1), rows(400, 2)


def labels_of(batch: Batch, name: str) -> np.ndarray:
    labels = batch.labels[:, [task.name for task in TASKS].index(name)].numpy()
    return INVERSES["spend"](labels) if name == "spend" else labels


def test_constants_are_the_weighted_shares_of_the_training_rows() -> None:
    predictions = constant(TRAIN, TEST, TASKS, inverses=INVERSES)
    for task, shape in zip(TASKS, [(), (4,), (), (5,)], strict=True):
        got = predictions[task.name]
        assert isinstance(got, np.ndarray)
        assert got.shape == (400, *shape)
        y, w = labels_of(TRAIN, task.name), TRAIN.weights.numpy()
        y, w = y[~np.isnan(y)], w[~np.isnan(y)]
        if shape:
            expected = np.array([w[y == k].sum() for k in range(shape[0])]) / w.sum()
        else:
            expected = (w * y).sum() / w.sum()
        np.testing.assert_allclose(got[17], expected, rtol=1e-5)


def test_popularity_finds_the_most_popular_item_first() -> None:
    predictions = constant(TRAIN, TEST, TASKS, inverses=INVERSES)
    labels = labels_of(TEST, "item")
    metrics = evaluate_task("retrieval", labels, predictions["item"], top_k=(1,))
    assert metrics["recall_at_1"] == pytest.approx(np.mean(labels[~np.isnan(labels)] == 2))


def test_constant_mean_is_in_the_unit_of_the_label() -> None:
    task = TaskSpec("spend", "regression", 1)
    batch = with_labels(TEST, torch.where(TEST.labels[:, :1] > 0.5, 3.0, 0.0))
    inverses = {"spend": np.expm1}
    got = constant(batch, batch, (task,), inverses=inverses)["spend"]
    truth = np.expm1(batch.labels[:, 0].numpy())
    assert got[0] == pytest.approx(np.average(truth, weights=batch.weights.numpy()), rel=1e-5)


@pytest.mark.slow  # boosting
def test_boosting_beats_the_constant() -> None:
    boosted = gradient_boosting(TRAIN, VALID, TEST, SPEC, seed=0, inverses=INVERSES)
    guess = constant(TRAIN, TEST, TASKS, inverses=INVERSES)
    weights = TEST.weights.numpy()
    measured = {}
    for task in TASKS[:3]:
        for which, predictions in (("boosted", boosted), ("guess", guess)):
            labels = labels_of(TEST, task.name)
            metrics = evaluate_task(task.kind, labels, predictions[task.name], weights)
            measured[task.name, which] = metrics
    assert measured["click", "boosted"]["auc"] > 0.95
    assert measured["click", "guess"]["auc"] == 0.5
    assert measured["click", "boosted"]["log_loss"] < 0.5 * measured["click", "guess"]["log_loss"]
    assert measured["band", "boosted"]["accuracy"] > 0.95
    assert measured["band", "boosted"]["log_loss"] < 0.5 * measured["band", "guess"]["log_loss"]
    assert measured["spend", "boosted"]["r2"] > 0.9
    assert measured["spend", "boosted"]["rmse"] < 0.3 * measured["spend", "guess"]["rmse"]
    assert np.allclose(boosted["band"].sum(1), 1)
    assert isinstance(boosted["item"], Undefined)


@pytest.mark.slow  # every baseline twice
def test_same_seed_same_predictions() -> None:
    first, second = (
        gradient_boosting(TRAIN, VALID, TEST, SPEC, seed=4, inverses=INVERSES) for _ in range(2)
    )
    for task in TASKS[:3]:
        np.testing.assert_array_equal(first[task.name], second[task.name])


def test_labels_that_training_lacks() -> None:
    labels = TRAIN.labels.clone()
    labels[:, 0] = torch.where(labels[:, 0] == 0, math.nan, labels[:, 0])  # one class left
    labels[:, 1] = torch.where(labels[:, 1] == 2, math.nan, labels[:, 1])  # class 2 only in valid
    labels[:, 2] = math.nan
    train = with_labels(TRAIN, labels)
    boosted = gradient_boosting(train, VALID, TEST, SPEC, seed=0, inverses=INVERSES)
    assert (boosted["click"] == 1).all()
    assert boosted["band"].shape == (400, 4)
    assert (boosted["band"][:, 2] == 0).all()
    assert (boosted["band"][:, [0, 1, 3]] > 0).all()
    assert boosted["spend"] == Undefined("no labelled training rows")
    guess = constant(train, TEST, TASKS, inverses=INVERSES)
    assert guess["spend"] == Undefined("no labelled training rows")


@pytest.mark.slow  # boosting
def test_without_validation_labels() -> None:
    valid = with_labels(VALID, torch.full_like(VALID.labels, math.nan))
    boosted = gradient_boosting(TRAIN, valid, TEST, SPEC, seed=0, inverses=INVERSES)
    metrics = evaluate_task("binary", labels_of(TEST, "click"), boosted["click"])
    assert metrics["auc"] > 0.9


def test_trees_after_the_best_validation_loss_are_not_used() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 2)), random.integers(0, 2, 300).astype(float)  # pure noise
    ones, part = np.ones(300), Boosting(None)
    halves = (x[:150], y[:150], ones[:150]), (x[150:], y[150:], ones[150:])
    model = baselines._fit(part, *halves, random_state=0)
    best = int(np.argmax(model.validation_score_))
    assert best < model.n_iter_
    staged = list(model.staged_predict_proba(x))[max(best, 1) - 1]
    np.testing.assert_array_equal(baselines._predict(model, x, 2), staged)
