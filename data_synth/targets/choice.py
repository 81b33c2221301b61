"""One of several classes, or one item of many, by a softmax over a single score.

The stereotype model: Anderson 1984, "Regression and ordered categorical variables", J. R. Stat.
Soc. B 46. Class c has the logit intercept_c + weight_c eta, eta = slope f. Scores are rounded to a
grid, so the classes' probabilities are one table.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from scipy.special import softmax

from data_synth.grid import COARSE, Grid
from data_synth.response import Floats
from data_synth.targets.base import Array, Metrics, Rng, Target, with_noise

_STEPS = 200
_CLOSE = 1e-7


@dataclass(frozen=True)
class ChoiceTarget(Target):
    """Classes 0 … C - 1.

    Attributes:
        slope: of eta.
        intercepts: (C,) of the classes' logits.
        weights: (C,) with mean 0 and variance 1.
        marginal: (C,) shares of the classes.
        noise: share of labels drawn with another row's score.
    """

    grid: ClassVar[Grid] = COARSE

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
        classes: int,
        zipf: float,
        signal: float,
        noise: float,
        rng: Rng,
    ) -> Self:
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
        return cls(signal, intercepts, weights, marginal, noise)

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
        return np.asarray(self.slope * self.grid.points[self.grid.nearest(scores)])

    def draw(self, scores: Array, rng: Rng) -> Array:
        """(R,) classes."""
        point = self.grid.nearest(with_noise(scores, self.noise, rng))
        where = np.searchsorted(self._steps, point + rng.random(len(scores)), side="right")
        classes = len(self.weights)
        drawn: Array = np.clip(where - point * classes, 0, classes - 1).astype(np.int32)
        return drawn

    def predict(self, linear: Array) -> Floats:
        """(R, C) probabilities, with label noise."""
        return self._noisy(self.chances[self.grid.nearest(np.asarray(linear) / self.slope)])

    def constant(self) -> Floats:
        """(C,) the marginal."""
        return self.marginal

    def metrics(self, counts: Array) -> Metrics:
        """Expected metrics, by `measure`."""
        seen = np.asarray(counts) > 0
        shares = np.asarray(counts, np.float64)[seen] / np.sum(counts)
        chances = self._noisy(self.chances[seen])
        overall = (shares @ chances)[None, :]
        return {
            "oracle": self.measure(shares, chances, chances),
            "constant": self.measure(np.ones(1), overall, overall),
        }

    @staticmethod
    @abstractmethod
    def measure(shares: Floats, chances: Floats, predicted: Floats) -> dict[str, float]:
        """Expected metrics of predictions (P, C) at points of these shares (P,) and chances."""

    def _noisy(self, chances: Floats) -> Floats:
        return (1 - self.noise) * chances + self.noise * self.marginal
