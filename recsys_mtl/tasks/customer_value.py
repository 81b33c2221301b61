"""Labels that are amounts of which most are 0: what a customer spends.

The zero-inflated lognormal distribution of Wang, Liu & Miao 2019 (arXiv:1912.07753): an amount is 0
with probability 1 - p, else its logarithm is normal with mean μ and standard deviation σ. A tower
has three outputs: the logit of p, μ, and σ before its softplus. The expected amount is
p · exp(μ + σ²/2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from recsys_mtl.columns.numbers import Floats, Moments
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.tasks import CustomerValueConfig
from recsys_mtl.errors import wrong
from recsys_mtl.metrics import Metrics, binary, gini, regression
from recsys_mtl.metrics.weighing import Array, Score, Weighing, together
from recsys_mtl.tasks.amount import AmountLabel
from recsys_mtl.tasks.kind import Boosting, Kind, Scoring, ToUnit
from recsys_mtl.tasks.start import inverse_softplus, log_mean_exp, log_odds, logit_of_mean

if TYPE_CHECKING:
    from torch import Tensor

    from recsys_mtl.losses import TaskLoss

LEAST_SPREAD = 0.05
"""Smallest σ: it bounds the density: a loss is never negative."""
_MOST = 88.0  # its exponential is a float32
_LEAST_ABOVE = 1e-6


@dataclass
class CustomerValueLabel(AmountLabel):
    """The amount itself.

    Attributes:
        rate: share of amounts above 0 among the labelled training rows.
        mean, sd: of the logarithms of these.
    """

    kind: ClassVar[str] = "customer_value"
    rate: float = 0.5
    mean: float = 0.0
    sd: float = 1.0
    _labelled: float = field(default=0.0, init=False, repr=False, compare=False)
    _moments: Moments = field(default_factory=Moments, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """Three values; the prior is the share and the moments of the logarithms."""
        return TaskSpec(self.task, self.kind, 3, prior=(self.rate, self.mean, self.sd))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training labels."""
        amounts = self.amounts(values, rows)
        self._labelled += rows.mass(~np.isnan(amounts))
        some = amounts > 0
        self._moments.update(np.log(amounts[some]), rows.weights_of(some))

    def finish(self) -> None:
        """Ends the fit."""
        if not self._labelled:
            raise self.no_labels()
        if not self._moments.count:
            raise self.always_zero()
        if self._moments.count == self._labelled:
            raise wrong(
                "the label is never 0 in the training rows",
                where=self.where,
                expected="amounts of which some are 0",
                found="only amounts above 0",
                fix="make the task kind: regression with transform: log1p",
            )
        self.rate = self._moments.count / self._labelled
        self.mean, self.sd = self._moments.mean, self._moments.sd
        self._moments = Moments()

    def base_rate(self, constant: Array) -> dict[str, float]:
        """The share of amounts above 0, and the mean amount."""
        return dict(zip(("rate", "mean"), constant.tolist(), strict=True))

    def columns(self, outputs: Floats) -> dict[str, Array]:
        """The expected amount, and `TASK_probability` of any, from (B, 3) outputs."""
        import torch

        probability, amount = (column.numpy() for column in _expected(torch.from_numpy(outputs)))
        return {self.task: amount, f"{self.task}_probability": probability}


class CustomerValue(Kind[CustomerValueConfig]):
    """Zero-inflated lognormal; predictions (…, 2) are the probability and the expected amount."""

    section = CustomerValueConfig
    measure = staticmethod(
        lambda labels, two, weights: gini.normalized_gini(labels, two[:, 1], weights)
    )
    signed = False
    ordered = True
    leakage = "rank"

    def label(self, name: str, task: CustomerValueConfig) -> CustomerValueLabel:
        """An unfitted encoder."""
        return CustomerValueLabel(**self.common(name, task))

    def start(self, prior: Tensor) -> Tensor:
        """The logit of the share, mean and spread of the logarithms."""
        import torch

        rate, mean, sd = prior.unbind()
        above = (sd - LEAST_SPREAD).clamp_min(LEAST_SPREAD)
        return torch.stack([log_odds(rate), mean, inverse_softplus(above)])

    def head_bias(self, spec: TaskSpec) -> Tensor:
        """That of the tower: amounts may be far from 1."""
        return self.output_bias(spec)

    def loss(self, task: CustomerValueConfig) -> TaskLoss:
        """Negative log-likelihood, less that of an exact prediction with the smallest σ."""
        from recsys_mtl.losses import TaskLoss, pointwise

        return TaskLoss(pointwise.zero_inflated_lognormal, (("least_spread", LEAST_SPREAD),))

    def merged(self, outputs: Tensor) -> Tensor:
        """Of the mean probability, the mean expected amount and the mean σ."""
        import torch
        from torch.nn import functional as F

        logits, mean, raw = outputs.unbind(-1)
        spread = LEAST_SPREAD + F.softplus(raw)
        some = F.logsigmoid(logits)
        amounts = some + (mean + spread.square() / 2).clamp_max(_MOST)
        common = spread.mean(0)
        given = log_mean_exp(amounts) - log_mean_exp(some) - common.square() / 2
        above = (common - LEAST_SPREAD).clamp_min(_LEAST_ABOVE)
        return torch.stack([logit_of_mean(logits), given, inverse_softplus(above)], -1)

    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """(B, 2) probabilities of any amount, and expected amounts."""
        import torch

        return torch.stack(_expected(outputs), 1)

    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Of probabilities and expected amounts (N, 2)."""
        amounts = np.asarray(labels, np.float64)
        probability, expected = np.asarray(predictions, np.float64).T
        rows = amounts, expected, weights
        return {
            "normalized_gini": gini.normalized_gini(*rows),
            "rmse": regression.rmse(*rows),
            "mae": regression.mae(*rows),
            "auc": binary.auc((amounts > 0).astype(np.float64), probability, weights),
            "calibration_ratio": binary.calibration_ratio(*rows),
        }

    def ranked_by(self, predictions: Array) -> Array:
        """The expected amounts."""
        return predictions[:, 1]

    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        """The normalised Gini coefficient of the expected amounts."""
        pairs = zip(labels, predictions, strict=True)
        return together([gini.prepare_normalized_gini(own, two[:, 1]) for own, two in pairs])

    def calibration(
        self, labels: Array, predicted: Array, weights: Array, *, bins: int
    ) -> Weighing | None:
        """Of the mean amount."""
        return regression.prepare_error_of_mean(labels, predicted[:, 1])

    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        """The share of amounts above 0, and the mean."""
        return np.array([np.average(of, weights=weights) for of in (labels > 0, labels)])

    def boosting(self) -> tuple[Boosting, ...]:
        """A classifier of any amount, and a regressor of the amount."""
        some = Boosting(None, lambda labels: (labels > 0).astype(np.float64))
        return some, Boosting("squared_error")

    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """The probability of any amount, and the amount."""
        return np.stack([predicted[0][:, 1], np.maximum(predicted[1], 0)], axis=1)

    def classes(self, spec: TaskSpec) -> int:
        """Two: none, and any."""
        return 2

    def class_of(self, labels: Tensor) -> Tensor:
        """Whether there is an amount."""
        return (labels > 0).long()

    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """Whether there is an amount, its standardised logarithm, and the square of that less 1."""
        import torch

        _, mean, sd = spec.prior
        some = labels > 0
        logarithms = torch.where(some, labels, 1).log()
        standard = (logarithms - mean) / max(sd, LEAST_SPREAD)
        return torch.stack([some.to(labels), some * standard, some * (standard.square() - 1)], 1)


def _expected(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) probabilities of any amount and (B,) expected amounts, of a tower's outputs (B, 3)."""
    from torch.nn.functional import softplus

    logits, mean, raw = outputs.unbind(1)
    probability, spread = logits.sigmoid(), LEAST_SPREAD + softplus(raw)
    return probability, probability * (mean + spread.square() / 2).clamp_max(_MOST).exp()
