from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.metrics import Undefined
from recsys_mtl.training.evaluate import Evaluator, mean_loss
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_losses


@pytest.fixture
def network(config_of, spec):
    torch.manual_seed(0)
    return build_network(config_of(), spec)


@pytest.fixture
def evaluator(config_of, spec):
    return Evaluator(
        tasks=spec.tasks,
        losses=build_losses(config_of()),
        inverse={"value": lambda x: 10 * x + 3},
        precision="fp32",
        calibration_bins=5,
        top_k=(1, 3),
    )


def score(evaluator, network, rows, size):
    return evaluator(network, MemoryLoader(rows, batch_size=size, shuffle=False, seed=0))


def test_metrics_are_of_all_rows_whatever_the_batch_size(evaluator, network, rows_of):
    rows = rows_of(101)
    complete = score(evaluator, network, rows, 101)
    parts = score(evaluator, network, rows, 7)
    for task, metrics in complete.metrics.items():
        assert parts.metrics[task] == pytest.approx(metrics, abs=1e-5), task
    for task in ("click", "segment", "value"):  # small catalogues: retrieval too
        assert parts.losses[task] == pytest.approx(complete.losses[task], abs=1e-5)
    assert complete.labelled == {"click": 86, "segment": 86, "value": 86, "brand": 86}


def test_auc_is_that_of_all_predictions(evaluator, network, rows_of):
    rows = rows_of(60)
    scores = score(evaluator, network, rows, 16)
    labelled = ~np.isnan(scores.labels["click"])
    expected = roc_auc_score(
        scores.labels["click"][labelled], scores.predictions["click"][labelled]
    )
    assert scores.metrics["click"]["auc"] == pytest.approx(expected)


def test_a_task_behind_another_is_judged_on_all_rows_and_given_the_first(
    evaluator, config_of, rows_of, spec
):
    tasks = {"click": {"kind": "binary"}, "buy": {"kind": "binary", "through": "click"}}
    both = (spec.tasks[0], replace(spec.tasks[0], name="buy", through="click"))
    network = build_network(config_of(tasks=tasks), replace(spec, tasks=both))
    losses = build_losses(config_of(tasks=tasks))
    evaluator = replace(evaluator, tasks=both, losses=losses, inverse={})
    rows = rows_of(60)
    click = rows.labels[:, 0]
    rows = replace(rows, labels=torch.stack([click, click * (rows.labels[:, 1] > 0)], 1))
    scores = score(evaluator, network, rows, 16)
    labels, predicted = scores.labels, scores.predictions
    known = ~np.isnan(labels["buy"])
    expected = roc_auc_score(labels["buy"][known], predicted["buy"][known])
    assert scores.metrics["buy"]["auc"] == pytest.approx(expected)
    clicked = labels["click"] == 1
    given = predicted["buy"][clicked] / predicted["click"][clicked]
    of = scores.conditional["buy"]
    assert (of.given, of.labelled) == ("click", clicked.sum())
    assert of.metrics["auc"] == pytest.approx(roc_auc_score(labels["buy"][clicked], given))
    assert of.metrics["log_loss"] == pytest.approx(log_loss(labels["buy"][clicked], given), 1e-5)
    assert list(scores.conditional) == ["buy"]


def test_regression_is_judged_in_the_labels_unit(evaluator, network, rows_of):
    rows = rows_of(60)
    scores = score(evaluator, network, rows, 16)
    raw = network.eval()(rows).logits["value"][:, 0].detach().numpy()
    labels = rows.labels[:, 2].numpy()
    known = ~np.isnan(labels)
    rmse = np.sqrt(np.mean((10 * raw[known] - 10 * labels[known]) ** 2))
    assert scores.metrics["value"]["rmse"] == pytest.approx(rmse, rel=1e-5)


def test_ranks_are_over_the_full_catalogue_without_the_unknown_item(evaluator, network, rows_of):
    rows = rows_of(30)
    ranks = score(evaluator, network, rows, 8).predictions["brand"]
    similar = network.scores("brand", network.eval()(rows).logits["brand"])[:, 1:]
    for row, label in enumerate(rows.labels[:, 3].tolist()):
        if np.isnan(label):
            assert np.isnan(ranks[row])
        else:
            better = (similar[row] > similar[row, int(label) - 1]).sum()
            assert ranks[row] == 1 + better


def test_a_split_without_labels_is_undefined_not_nan(evaluator, network, rows_of):
    rows = rows_of(20)
    labels = rows.labels.clone()
    labels[:, 0] = torch.nan
    labels[:, 1] = 1.0
    scores = score(evaluator, network, replace(rows, labels=labels), 8)
    assert scores.losses["click"] is None
    assert isinstance(scores.metrics["click"]["auc"], Undefined)
    assert mean_loss(scores.losses, dict.fromkeys(scores.losses, 1.0)) == pytest.approx(
        np.mean([scores.losses[t] for t in ("segment", "value", "brand")])
    )


def test_the_mean_loss_is_weighted(evaluator, network, rows):
    scores = score(evaluator, network, rows, 40)
    weights = {"click": 3.0, "segment": 1.0, "value": 1.0, "brand": 1.0}
    expected = sum(weights[t] * scores.losses[t] for t in weights) / 6
    assert mean_loss(scores.losses, weights) == pytest.approx(expected)


def test_gate_use_is_reported_per_task(evaluator, network, rows):
    gates = score(evaluator, network, rows, 16).gates
    assert set(gates) == {"click", "segment", "value", "brand"}
    assert set(gates["click"].mean) == {"click.0", "shared.0", "shared.1"}
    assert sum(gates["click"].mean.values()) == pytest.approx(1.0)


def test_evaluation_changes_nothing(evaluator, network, rows):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    score(evaluator, network, rows, 16)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_row_weights_count_in_the_loss_whatever_the_batches(evaluator, network, rows_of):
    rows = rows_of(61)
    rows = replace(rows, weights=torch.linspace(0.0, 3.0, 61))
    complete = score(evaluator, network, rows, 61)
    parts = score(evaluator, network, rows, 9)
    for task in complete.losses:
        assert parts.losses[task] == pytest.approx(complete.losses[task], rel=1e-5), task


def test_an_unknown_item_is_a_miss(evaluator, network, rows_of):
    rows = rows_of(20)
    labels = rows.labels.clone()
    labels[:, 3] = 0.0
    metrics = score(evaluator, network, replace(rows, labels=labels), 8).metrics["brand"]
    assert metrics == {"recall_at_1": 0.0, "recall_at_3": 0.0, "mrr": 0.0}
