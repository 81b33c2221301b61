from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.runs.baselines import constant
from recsys_mtl.tasks.evaluate import evaluate_task
from tests.boosting.tables import INVERSES, TASKS, TEST, TRAIN, labels_of, with_labels


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
