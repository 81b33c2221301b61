"""One of several classes, or one item of many, by a softmax over a single score.

The stereotype model: Anderson 1984, "Regression and ordered categorical variables", J. R. Stat.
Soc. B 46. Class c has the logit intercept_c + weight_c eta, eta = slope f. Scores are rounded to a
grid, so that the classes' probabilities are one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from scipy.special import softmax, xlogy

from data_synth.grid import COARSE, Grid
from data_synth.response import Floats
from data_synth.targets.base import Array, Rng, with_noise

_STEPS = 200
_CLOSE = 1e-7
_TOP = (1, 5, 10)


@dataclass(frozen=True)
class ChoiceTarget:
    """Classes 0 … C - 1.

    Attributes:
        kind: multiclass or retrieval.
        slope: of eta.
        intercepts: (C,) of the classes' logits.
        weights: (C,) with mean 0 and variance 1.
        marginal: (C,) shares of the classes.
        noise: share of labels drawn with another row's score.
    """

    grid: ClassVar[Grid] = COARSE

    kind: Literal["multiclass", "retrieval"]
    slope: float
    intercepts: Floats
    weights: Floats
    marginal: Floats
    noise: float

    @classmethod
    def fit(
        cls,
        counts: Array,
        *,
        kind: Literal["multiclass", "retrieval"],
        classes: int,
        zipf: float,
        signal: float,
        noise: float,
        rng: Rng,
    ) -> ChoiceTarget:
        """Find the intercepts that give Zipf shares over scores with these (weighted) counts."""
        shares = counts / counts.sum()
        seen = shares > 0
        shares, points = shares[seen], COARSE.points[seen]
        marginal = np.arange(1, classes + 1) ** -zipf
        marginal = marginal / marginal.sum()
        weights = np.linspace(-1, 1, classes)
        weights = rng.permutation(weights / weights.std())
        slopes = signal * points[:, None] * weights
        intercepts = np.log(marginal)
        for _ in range(_STEPS):
            reached = shares @ softmax(intercepts + slopes, axis=1)
            intercepts = intercepts + np.log(marginal / reached)
            if np.abs(reached / marginal - 1).max() < _CLOSE:
                break
        return cls(kind, signal, intercepts, weights, marginal, noise)

    @cached_property
    def chances(self) -> Floats:
        """(P, C) probability of each class at each point, without label noise."""
        eta = self.slope * self.grid.points
        chances: Floats = softmax(self.intercepts + eta[:, None] * self.weights, axis=1)
        return chances

    @cached_property
    def _steps(self) -> Floats:
        """(P * C,) rising: the point's index plus the cumulated chances."""
        cumulated = self.chances.cumsum(axis=1)
        cumulated /= cumulated[:, -1:]
        steps: Floats = cumulated + np.arange(len(cumulated))[:, None]
        return steps.ravel()

    def linear(self, scores: Array) -> Array:
        """(R,) eta of the rounded scores."""
        return np.asarray(self.slope * self.grid.points[self.grid.place(scores)])

    def draw(self, scores: Array, rng: Rng) -> Array:
        """(R,) classes."""
        point = self.grid.place(with_noise(scores, self.noise, rng))
        where = np.searchsorted(self._steps, point + rng.random(len(scores)), side="right")
        classes = len(self.weights)
        drawn: Array = np.clip(where - point * classes, 0, classes - 1).astype(np.int32)
        return drawn

    def predict(self, linear: Array) -> Floats:
        """(R, C) probabilities, with label noise."""
        return self._noisy(self.chances[self.grid.place(np.asarray(linear) / self.slope)])

    def ranks(self, linear: Array, labels: Array) -> Array:
        """(R,) rank of the labels among all classes by probability, from 1."""
        order = np.argsort(-self._noisy(self.chances), axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(1, order.shape[1] + 1)[None, :], axis=1)
        ranks: Array = rank[self.grid.place(np.asarray(linear) / self.slope), labels]
        return ranks

    def constant_ranks(self, labels: Array) -> Array:
        """(R,) rank of the labels by the marginal alone, from 1."""
        rank = np.empty(len(self.marginal))
        rank[np.argsort(-self.marginal, kind="stable")] = np.arange(1, len(rank) + 1)
        ranks: Array = rank[labels]
        return ranks

    def constant(self) -> Floats:
        """(C,) the marginal."""
        return self.marginal

    def metrics(self, counts: Array) -> dict[str, dict[str, float]]:
        """Expected accuracy and log loss of classes; expected MRR and recall at K of items."""
        seen = np.asarray(counts) > 0
        shares = np.asarray(counts, np.float64)[seen] / np.sum(counts)
        chances = self._noisy(self.chances[seen])
        overall = (shares @ chances)[None, :]
        one = np.ones(1)
        measure = _of_items if self.kind == "retrieval" else _of_classes
        return {
            "oracle": measure(shares, chances, chances),
            "constant": measure(one, overall, overall),
        }

    def _noisy(self, chances: Floats) -> Floats:
        return (1 - self.noise) * chances + self.noise * self.marginal


def _of_classes(shares: Floats, chances: Floats, predicted: Floats) -> dict[str, float]:
    best = np.take_along_axis(chances, predicted.argmax(axis=1)[:, None], axis=1)[:, 0]
    return {
        "accuracy": float(shares @ best),
        "log_loss": -float(shares @ xlogy(chances, predicted).sum(axis=1)),
    }


def _of_items(shares: Floats, chances: Floats, predicted: Floats) -> dict[str, float]:
    ordered = np.take_along_axis(chances, np.argsort(-predicted, axis=1), axis=1)
    rank = np.arange(1, ordered.shape[1] + 1)
    found = {f"recall_at_{k}": float(shares @ ordered[:, :k].sum(axis=1)) for k in _TOP}
    return {"mrr": float(shares @ (ordered / rank).sum(axis=1))} | found
