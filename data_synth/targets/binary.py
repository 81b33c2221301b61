"""Yes/no labels from a logit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat
from scipy.optimize import brentq
from scipy.special import expit, logit, xlogy

from data_synth.grid import FINE, Grid
from data_synth.response import Floats
from data_synth.targets.base import Array, Open, Rng, Target, TaskBase, with_noise
from recsys_mtl.metrics.binary import auc_of_masses, pr_auc_of_masses


@dataclass(frozen=True)
class BinaryTarget(Target):
    """P(1 | f) = (1 - noise) sigmoid(intercept + slope f) + noise rate.

    Attributes:
        intercept: of the logit.
        slope: of the logit; its standard deviation up to the sign.
        rate: share of positives.
        noise: share of labels drawn with another row's score.
    """

    kind: ClassVar[str] = "binary"
    grid: ClassVar[Grid] = FINE
    dtype = np.int8
    metric = "auc"
    averaged = True

    intercept: float
    slope: float
    rate: float
    noise: float

    @classmethod
    def fit(cls, counts: Array, *, rate: float, signal: float, noise: float) -> BinaryTarget:
        """Find the intercept that gives the rate over scores with these (weighted) counts."""
        points, shares = FINE.points, counts / counts.sum()

        def surplus(intercept: float) -> float:
            return float(shares @ expit(intercept + signal * points)) - rate

        reach = 12 * signal + 60
        return cls(float(brentq(surplus, -reach, reach, xtol=1e-12)), signal, rate, noise)

    def opposite(self) -> BinaryTarget:
        """The target of the event that this one does not happen."""
        return BinaryTarget(-self.intercept, -self.slope, 1 - self.rate, self.noise)

    def linear(self, scores: Array) -> Array:
        """(R,) logits, before label noise."""
        linear: Array = self.intercept + self.slope * scores
        return linear

    def draw(self, scores: Array, rng: Rng) -> Array:
        """(R,) labels 0 and 1."""
        chance = expit(self.linear(with_noise(scores, self.noise, rng)))
        drawn: Array = (rng.random(len(scores)) < chance).astype(np.int8)
        return drawn

    def predict(self, linear: Array) -> Floats:
        """(R,) probability of 1, with label noise."""
        clean: Floats = expit(np.asarray(linear, np.float64))
        return (1 - self.noise) * clean + self.noise * self.rate

    def constant(self) -> Floats:
        """The rate."""
        return np.asarray(self.rate)

    def in_words(self, mean: float, shares: list[float]) -> str:
        """The rate."""
        return f"{mean:.2%}"

    def metrics(self, counts: Array) -> dict[str, dict[str, float]]:
        """Expected AUC, PR-AUC and log loss."""
        chance = self.predict(self.linear(self.grid.points))
        order = np.argsort(chance, kind="stable")
        chance, mass = chance[order], np.asarray(counts, np.float64)[order]
        positive, negative = mass * chance, mass * (1 - chance)
        rate = float(positive.sum() / mass.sum())
        return {
            "oracle": {
                "auc": auc_of_masses(positive, negative),
                "pr_auc": pr_auc_of_masses(positive, negative),
                "log_loss": float(mass @ _entropy(chance)) / mass.sum(),
            },
            "constant": {
                "auc": 0.5,
                "pr_auc": rate,
                "log_loss": float(_entropy(np.asarray(rate))),
            },
        }


def together(
    targets: Sequence[BinaryTarget], linear: Sequence[Array]
) -> tuple[BinaryTarget, Array]:
    """The target of all events of a funnel together, and its (R,) linear predictors.

    Args:
        targets: of the events, each defined where the one before happened.
        linear: (R,) of each.
    """
    pairs = zip(targets, linear, strict=True)
    chance = np.prod([target.predict(own) for target, own in pairs], axis=0)
    rate = float(np.prod([target.rate for target in targets]))
    return BinaryTarget(0.0, 1.0, rate, 0.0), logit(chance)


def _entropy(chance: Floats) -> Floats:
    entropy: Floats = -xlogy(chance, chance) - xlogy(1 - chance, 1 - chance)
    return entropy


class BinaryTask(TaskBase):
    """A yes/no label from a logit."""

    kind: Literal["binary"]
    rate: Open = Field(description="share of positives among the rows where the label is defined")
    signal: PositiveFloat = Field(1.5, description="standard deviation of the true logit")

    target = BinaryTarget

    def fit(self, counts: Array, rng: Rng) -> BinaryTarget:
        """Draws nothing."""
        noise = self.label_noise
        return BinaryTarget.fit(counts, rate=self.rate, signal=self.signal, noise=noise)
