from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from recsys_mtl.boosting import Boosted, boost, default_name
from recsys_mtl.boosting.histogram import Histogram
from recsys_mtl.boosting.rows import Problem, Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.metrics import Undefined
from recsys_mtl.runs.baselines import constant
from recsys_mtl.tasks import Boosting
from recsys_mtl.tasks.evaluate import evaluate_task
from tests.boosting.tables import (
    INVERSES,
    SPEC,
    TASKS,
    TEST,
    TRAIN,
    VALID,
    labels_of,
    with_labels,
)
from tests.encoded import data_spec, encoded

_NEEDS = pytest.mark.skipif(default_name() != "lightgbm", reason="LightGBM is not installed")
LIBRARIES = [pytest.param("lightgbm", marks=_NEEDS), "gradient_boosting"]


def boosted(name: str, train: Any = TRAIN, valid: Any = VALID, seed: int = 0) -> Boosted:
    return boost(name, train, valid, TEST, SPEC, seed=seed, inverses=INVERSES)


@pytest.mark.slow  # boosting
@pytest.mark.parametrize("name", LIBRARIES)
def test_boosting_beats_the_constant(name: str) -> None:
    learned = boosted(name)
    predictions = learned.predictions
    guess = constant(TRAIN, TEST, TASKS, inverses=INVERSES)
    weights = TEST.weights.numpy()
    measured = {}
    for task in TASKS[:3]:
        for which, of in (("boosted", predictions), ("guess", guess)):
            labels = labels_of(TEST, task.name)
            measured[task.name, which] = evaluate_task(task.kind, labels, of[task.name], weights)
    assert measured["click", "boosted"]["auc"] > 0.95
    assert measured["click", "guess"]["auc"] == 0.5
    assert measured["click", "boosted"]["log_loss"] < 0.5 * measured["click", "guess"]["log_loss"]
    assert measured["band", "boosted"]["accuracy"] > 0.95
    assert measured["band", "boosted"]["log_loss"] < 0.5 * measured["band", "guess"]["log_loss"]
    assert measured["spend", "boosted"]["r2"] > 0.9
    assert measured["spend", "boosted"]["rmse"] < 0.3 * measured["spend", "guess"]["rmse"]
    assert np.allclose(predictions["band"].sum(1), 1)
    assert isinstance(predictions["item"], Undefined)
    numbers = learned.numbers()
    assert list(numbers["models"]) == [task.name for task in TASKS]
    assert [len(models) for models in numbers["models"].values()] == [1, 1, 1, 0]
    assert numbers["models"]["click"][0]["trees"] > 1


@pytest.mark.slow  # every baseline twice
@pytest.mark.parametrize("name", LIBRARIES)
def test_same_seed_same_predictions(name: str) -> None:
    first, second = (boosted(name, seed=4).predictions for _ in range(2))
    for task in TASKS[:3]:
        np.testing.assert_array_equal(first[task.name], second[task.name])


@pytest.mark.slow  # boosting
@pytest.mark.parametrize("name", LIBRARIES)
def test_labels_that_training_lacks(name: str) -> None:
    labels = TRAIN.labels.clone()
    labels[:, 0] = torch.where(labels[:, 0] == 0, math.nan, labels[:, 0])  # one class left
    labels[:, 1] = torch.where(labels[:, 1] == 2, math.nan, labels[:, 1])  # class 2 only in valid
    labels[:, 2] = math.nan
    train = with_labels(TRAIN, labels)
    predictions = boosted(name, train).predictions
    assert (predictions["click"] == 1).all()
    assert predictions["band"].shape == (400, 4)
    assert (predictions["band"][:, 2] == 0).all()
    assert (predictions["band"][:, [0, 1, 3]] > 0).all()
    assert predictions["spend"] == Undefined("no labelled training rows")
    guess = constant(train, TEST, TASKS, inverses=INVERSES)
    assert guess["spend"] == Undefined("no labelled training rows")


@pytest.mark.slow  # boosting
@pytest.mark.parametrize("name", LIBRARIES)
def test_without_validation_labels(name: str) -> None:
    valid = with_labels(VALID, torch.full_like(VALID.labels, math.nan))
    learned = boosted(name, valid=valid)
    metrics = evaluate_task("binary", labels_of(TEST, "click"), learned.predictions["click"])
    assert metrics["auc"] > 0.9
    assert learned.models["click"][0].trees == 100


@pytest.mark.slow  # boosting
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_part_of_one_class(name: str) -> None:
    """Every customer has spent: no classifier, but a regressor of the amount."""
    spec = data_spec(numeric=2, tasks=(TaskSpec("value", "customer_value", 3),))
    random = np.random.default_rng(0)

    def some(count: int) -> Any:
        x = random.normal(size=(count, 2)).astype(np.float32)
        labels = torch.from_numpy(np.exp(x[:, :1]))
        return encoded(spec, numeric=torch.from_numpy(x), labels=labels)

    train, valid, test = some(400), some(200), some(100)
    inverses = {"value": lambda values: values}
    learned = boost(name, train, valid, test, spec, seed=0, inverses=inverses)
    predicted = learned.predictions["value"]
    assert (predicted[:, 0] == 1).all()
    assert np.corrcoef(predicted[:, 1], test.labels[:, 0])[0, 1] > 0.9
    assert len(learned.models["value"]) == 1


def test_scikit_learn_does_not_use_trees_after_the_best_validation_loss() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 2)), random.integers(0, 2, 300).astype(float)  # pure noise
    ones = np.ones(300)
    halves = Rows(x[:150], y[:150], ones[:150]), Rows(x[150:], y[150:], ones[150:])
    problem = Problem.of(Boosting(None), *halves)
    learned = Histogram().fit(problem, categories=(None, None), seed=0, threads=1)
    model = learned.predict.args[0]  # type: ignore[attr-defined]
    best = int(np.argmax(model.validation_score_))
    assert best < model.n_iter_
    assert learned.trees == max(best, 1)
    staged = list(model.staged_predict_proba(x))[max(best, 1) - 1]
    np.testing.assert_array_equal(learned.predict(x), staged)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("valid", [0, 5])
def test_few_rows_and_counts_of_zero(name: str, valid: int) -> None:
    spec = data_spec(numeric=1, tasks=(TaskSpec("orders", "count", 1),))

    def of(counts: list[float]) -> Any:
        numeric = torch.arange(len(counts)).float()[:, None]
        return encoded(spec, numeric=numeric, labels=torch.tensor(counts).view(-1, 1))

    train, held, test = of([0, 1, 2]), of([0.0] * valid), of([1, 1])
    inverses = {"orders": lambda values: values}
    learned = boost(name, train, held, test, spec, seed=0, inverses=inverses)
    np.testing.assert_allclose(learned.predictions["orders"], [1, 1], rtol=1e-6)


def test_a_classifier_learns_positions_of_its_classes() -> None:
    columns = np.arange(6.0)[:, None]
    train = Rows(columns[:4], np.array([5.0, 2.0, 5.0, 9.0]), np.ones(4))
    valid = Rows(columns, np.array([9.0, 3.0, 2.0, 5.0, 1.0, 10.0]), np.arange(6.0))
    problem = Problem.of(Boosting(None), train, valid)
    assert problem.classes.tolist() == [2, 5, 9]
    assert problem.train.labels.tolist() == [1, 0, 1, 2]
    assert problem.valid is not None
    assert problem.valid.labels.tolist() == [2, 0, 1]
    assert problem.valid.weights.tolist() == [0, 2, 3]
    unseen = valid._replace(labels=np.full(6, 4.0))
    assert Problem.of(Boosting(None), train, unseen).valid is None
