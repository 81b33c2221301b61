"""Tasks of kind count."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.tasks import CountConfig
from recsys_mtl.errors import UserError
from recsys_mtl.losses import pointwise
from recsys_mtl.tasks import kind_of
from recsys_mtl.tasks.count import CountLabel

COUNT = kind_of("count")


def fitted(*values: float | None) -> CountLabel:
    label = CountLabel("y", "orders")
    label.update(pl.Series(values, dtype=pl.Float64), Rows(0, len(values)))
    label.finish()
    return label


def test_the_label_is_its_own_target() -> None:
    label = fitted(0, 3, None, 1)
    assert label.spec == TaskSpec("orders", "count", 1, prior=(pytest.approx(4 / 3),))
    encoded = label.encode(pl.Series([2, None, 0]), Rows(0, 3))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [2, np.nan, 0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1, -2), "a negative label; expected numbers from 0 on, or null; found -2"),
        ((0, 0), "the label is 0 in all training rows"),
        ((None, None), "no label in the training rows"),
        ((1, 1e39), "label beyond float32"),
    ],
)
def test_wrong_labels(values: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(*values)


def test_an_untrained_tower_predicts_the_mean() -> None:
    label = fitted(0, 0, 0, 1)
    outputs = COUNT.output_bias(label.spec).unsqueeze(0)
    none = torch.empty(0)
    assert COUNT.predict(label.spec, outputs, none, none).item() == pytest.approx(0.25)
    assert label.decode(outputs.double().numpy(), top_k=1)["orders"].item() == pytest.approx(0.25)


def test_the_loss_is_the_likelihood_up_to_its_best_value() -> None:
    rng = np.random.default_rng(1)
    logarithms, labels = rng.normal(size=50), rng.poisson(2.0, 50).astype(float)
    loss = pointwise.poisson(torch.tensor(logarithms), torch.tensor(labels)).numpy()
    best = stats.poisson.logpmf(labels, labels)
    np.testing.assert_allclose(loss, best - stats.poisson.logpmf(labels, np.exp(logarithms)))
    assert (loss >= 0).all()


def test_the_gradient_at_the_mean_is_what_a_probe_learns() -> None:
    labels = torch.tensor([0.0, 2.0, 1.0, 5.0])
    spec = TaskSpec("orders", "count", 1, prior=(2.0,))
    outputs = COUNT.output_bias(spec).repeat(4, 1).requires_grad_()
    losses, _ = COUNT.loss(CountConfig(kind="count")).stacked(
        outputs, labels.unsqueeze(1), torch.ones(4)
    )
    losses.sum().backward()
    targets = COUNT.targets(spec, labels, None)
    torch.testing.assert_close(outputs.grad * 4, targets.mean(0) - targets)
