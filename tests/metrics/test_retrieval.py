from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from recsys_mtl.metrics import Undefined, retrieval, true_item_ranks
from recsys_mtl.tasks.evaluate import evaluate_task


def test_by_hand() -> None:
    scores = np.array([[9.0, 0.5, 0.9, 0.1], [9.0, 0.5, 0.9, 0.1], [9.0, 0.5, 0.9, 0.1]])
    labels = np.array([2.0, 1.0, 3.0])  # ranks 1, 2, 3; column 0 is no item
    metrics = evaluate_task("retrieval", labels, scores, top_k=(1, 2))
    assert metrics["recall_at_1"] == pytest.approx(1 / 3)
    assert metrics["recall_at_2"] == pytest.approx(2 / 3)
    assert metrics["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_ranks_equal_a_slow_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "_CHUNK", 50)  # several chunks
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (31, 12)).astype(np.float32)
    labels = random.integers(1, 12, 31).astype(np.float32)
    slow = [sum(s[1:] >= s[int(y)]) for s, y in zip(scores, labels, strict=True)]
    assert true_item_ranks(scores, labels).tolist() == slow


def test_ties_and_nan_count_against_the_model() -> None:
    scores = np.array([[0.0, 1.0, 1.0, 1.0], [0.0, *[math.nan] * 3]])
    assert true_item_ranks(scores, np.array([1.0, 2.0])).tolist() == [3.0, 3.0]


def test_unknown_item_is_a_miss_and_unlabelled_no_row() -> None:
    scores = np.array([[5.0, 1.0, 2.0]] * 3)
    labels = np.array([0.0, 2.0, math.nan])
    assert true_item_ranks(scores, labels).tolist() == [math.inf, 1.0, math.inf]
    metrics = evaluate_task("retrieval", labels, scores, top_k=(1,))
    assert metrics == {"recall_at_1": pytest.approx(0.5), "mrr": pytest.approx(0.5)}


def test_ranks_batch_by_batch_give_the_same_metrics() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.random((40, 9)), random.integers(1, 9, 40).astype(float)
    weights = random.random(40)
    ranks = np.concatenate(
        [true_item_ranks(scores[i : i + 7], labels[i : i + 7]) for i in range(0, 40, 7)]
    )
    complete = evaluate_task("retrieval", labels, scores, weights)
    assert evaluate_task("retrieval", labels, ranks, weights) == pytest.approx(complete)
    assert complete["recall_at_10"] == pytest.approx(1.0)


def test_one_row_of_scores_for_all_is_not_copied() -> None:
    labels = np.full(2000, 7.0)
    labels[::2] = math.nan
    scores = np.broadcast_to(np.arange(20_001.0, 0.0, -1.0), (2000, 20_001))  # 320 MB if written
    tracemalloc.start()
    metrics = evaluate_task("retrieval", labels, scores, top_k=(6, 7))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (metrics["recall_at_6"], metrics["recall_at_7"]) == (0.0, 1.0)
    assert peak < 40e6


def test_no_labelled_rows() -> None:
    metrics = evaluate_task("retrieval", np.array([math.nan]), np.zeros((1, 3)))
    assert set(metrics.values()) == {Undefined("no labelled rows")}


def test_one_preparation_serves_all_weights() -> None:
    ranks = np.array([1.0, 2.0, math.inf])
    weigh = retrieval.prepare_mrr(ranks)
    for weights in ([1.0, 1.0, 1.0], [0.0, 3.0, 1.0]):
        assert weigh(np.array(weights)) == retrieval.mrr(ranks, np.array(weights))
    assert math.isnan(weigh(np.zeros(3)))
