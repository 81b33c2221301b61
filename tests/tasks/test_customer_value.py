"""Tasks of kind customer_value."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.tasks import CustomerValueConfig
from recsys_mtl.errors import UserError
from recsys_mtl.losses import pointwise
from recsys_mtl.tasks import kind_of
from recsys_mtl.tasks.customer_value import LEAST_SPREAD, CustomerValueLabel

VALUE = kind_of("customer_value")


def fitted(*values: float | None) -> CustomerValueLabel:
    label = CustomerValueLabel("y", "spend")
    label.update(pl.Series(values, dtype=pl.Float64), Rows(0, len(values)))
    label.finish()
    return label


def test_the_label_is_its_own_target() -> None:
    label = fitted(0, np.e, None, 1, 0, 0)
    assert (label.rate, label.mean, label.sd) == pytest.approx((0.4, 0.5, 0.5))
    assert label.spec == TaskSpec("spend", "customer_value", 3, prior=(0.4, label.mean, label.sd))
    np.testing.assert_array_equal(
        label.encode(pl.Series([2.5, None, 0]), Rows(0, 3)), np.float32([2.5, np.nan, 0])
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, -2), "a negative label"),
        ((0, 0), "the label is 0 in all training rows"),
        ((3, 4), "the label is never 0 in the training rows.*kind: regression"),
        ((None,), "no label in the training rows"),
    ],
)
def test_wrong_labels(values: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(*values)


def test_an_untrained_tower_predicts_the_training_rows_distribution() -> None:
    rng = np.random.default_rng(4)
    amounts = np.where(rng.random(40_000) < 0.3, np.exp(rng.normal(1.0, 0.8, 40_000)), 0)
    label = fitted(*amounts)
    outputs = VALUE.output_bias(label.spec).unsqueeze(0)
    none = torch.empty(0)
    probability, amount = VALUE.predict(label.spec, outputs, none, none)[0].tolist()
    assert probability == pytest.approx((amounts > 0).mean(), rel=1e-5)
    assert amount == pytest.approx(amounts.mean(), rel=0.02)  # its logarithm is normal
    frame = label.decode(outputs.double().numpy(), top_k=1)
    assert frame.row(0) == pytest.approx((amount, probability), rel=1e-5)
    assert frame.columns == ["spend", "spend_probability"]


def test_the_loss_is_the_likelihood_over_the_sharpest_one() -> None:
    rng = np.random.default_rng(1)
    outputs = torch.tensor(rng.normal(size=(60, 3)))
    labels = np.where(rng.random(60) < 0.5, np.exp(rng.normal(size=60)), 0)
    loss = pointwise.zero_inflated_lognormal(
        outputs, torch.tensor(labels), least_spread=LEAST_SPREAD
    ).numpy()
    logit, mean, raw = outputs.numpy().T
    chance, spread = 1 / (1 + np.exp(-logit)), LEAST_SPREAD + np.log1p(np.exp(raw))
    some = labels > 0
    logs = np.log(np.where(some, labels, 1))
    density = stats.norm.logpdf(logs, mean, spread) - stats.norm.logpdf(0, 0, LEAST_SPREAD)
    np.testing.assert_allclose(loss, -np.where(some, np.log(chance) + density, np.log1p(-chance)))
    assert (loss >= 0).all()


def test_the_gradient_at_the_base_rate_is_what_a_probe_learns() -> None:
    label = fitted(0, 0.5, 4, 0, 1.5, 9)
    labels = torch.tensor([0, 0.5, 4, 0, 1.5, 9])
    outputs = VALUE.output_bias(label.spec).repeat(6, 1).requires_grad_()
    loss = VALUE.loss(CustomerValueConfig(kind="customer_value"))
    losses, _ = loss.stacked(outputs, labels.unsqueeze(1), torch.ones(6))
    losses.sum().backward()
    targets = VALUE.targets(label.spec, labels, None)
    expected = targets.mean(0) - targets
    for column in range(3):  # up to a positive factor of each output
        factor = (outputs.grad[:, column] @ expected[:, column]) / expected[
            :, column
        ].square().sum()
        assert factor > 0
        torch.testing.assert_close(outputs.grad[:, column], factor * expected[:, column])


def test_a_wide_distribution_stays_finite() -> None:
    outputs = torch.tensor([[5.0, 80.0, 40.0]])
    none = torch.empty(0)
    spec = TaskSpec("spend", "customer_value", 3)
    assert VALUE.predict(spec, outputs, none, none).isfinite().all()
