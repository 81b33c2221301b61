"""Numbers: a normal value, its exponential (heavy tail), or its normal distribution function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.special import ndtr

from data_synth.grid import FINE, Grid
from data_synth.response import Floats
from data_synth.targets.base import Array, Open, Rng, Target, TaskBase, with_noise

Distribution = Literal["normal", "lognormal", "unit"]
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
_LARGEST_LOGARITHM = 20


@dataclass(frozen=True)
class RegressionTarget(Target):
    """y = link(mean + spread (sqrt(r2) f + sqrt(1 - r2) e)), e standard normal.

    Attributes:
        distribution: link is the identity, exp, or the normal distribution function.
        mean: before the link.
        spread: standard deviation before the link.
        r2: share of the variance before the link that the score has.
        expected: mean of y.
        second: mean of y squared.
        noise: share of labels drawn with another row's score.
    """

    kind: ClassVar[str] = "regression"
    grid: ClassVar[Grid] = FINE
    dtype = np.float32
    metric = "r2"
    averaged = True

    distribution: Distribution
    mean: float
    spread: float
    r2: float
    expected: float
    second: float
    noise: float

    @classmethod
    def fit(
        cls,
        counts: Array,
        *,
        distribution: Distribution,
        mean: float,
        spread: float,
        r2: float,
        noise: float,
    ) -> RegressionTarget:
        """Find the moments of y over scores with these (weighted) counts."""
        draft = cls(distribution, mean, spread, r2, 0.0, 0.0, 0.0)
        first, second = draft._moments()
        shares = counts / counts.sum()
        moments = float(shares @ first), float(shares @ second)
        return cls(distribution, mean, spread, r2, *moments, noise)

    def linear(self, scores: Array) -> Array:
        """(R,) expected value before the link."""
        return np.asarray(self.mean + self.spread * np.sqrt(self.r2) * scores)

    def draw(self, scores: Array, rng: Rng) -> Array:
        """(R,) values, float32."""
        rest = rng.standard_normal(len(scores), dtype=np.float32)
        rest *= np.float32(self.spread * np.sqrt(1 - self.r2))
        rest += self.linear(with_noise(scores, self.noise, rng))
        return self._link(rest).astype(np.float32)

    def predict(self, linear: Array) -> Floats:
        """(R,) expected y, with label noise."""
        linear = np.asarray(linear, np.float64)
        left = self.spread**2 * (1 - self.r2)
        if self.distribution == "normal":
            clean = linear
        elif self.distribution == "lognormal":
            clean = np.exp(linear + left / 2)
        else:
            clean = ndtr(linear / np.sqrt(1 + left))
        return (1 - self.noise) * clean + self.noise * self.expected

    def constant(self) -> Floats:
        """The mean of y."""
        return np.asarray(self.expected)

    def truth(self, linear: Array) -> Array:
        """Eta, which ranks as the expected y does."""
        return linear

    def in_words(self, mean: float, shares: list[float]) -> str:
        """The mean."""
        return f"mean {mean:.3g}"

    def metrics(self, counts: Array) -> dict[str, dict[str, float]]:
        """Expected RMSE and R2."""
        shares = np.asarray(counts, np.float64) / np.sum(counts)
        predicted = self.predict(self.linear(self.grid.points))
        first, second = self._moments()
        first = (1 - self.noise) * first + self.noise * self.expected
        second = (1 - self.noise) * second + self.noise * self.second
        variance = float(shares @ second) - float(shares @ first) ** 2
        error = float(shares @ (second - 2 * first * predicted + predicted**2))
        return {
            "oracle": {"rmse": float(np.sqrt(error)), "r2": 1 - error / variance},
            "constant": {"rmse": float(np.sqrt(variance)), "r2": 0.0},
        }

    def _moments(self) -> tuple[Floats, Floats]:
        """(P,) mean of y and of its square at each point, without label noise."""
        rest = self.spread * np.sqrt(1 - self.r2) * _NODES
        values = self._link(self.linear(self.grid.points)[:, None] + rest)
        return values @ _NODE_WEIGHTS, values**2 @ _NODE_WEIGHTS

    def _link(self, value: Array) -> Array:
        if self.distribution == "normal":
            return value
        return np.exp(value) if self.distribution == "lognormal" else ndtr(value)


class RegressionTask(TaskBase):
    """A number: normal, lognormal (heavy tail) or in (0, 1)."""

    kind: Literal["regression"]
    distribution: Distribution = Field(
        "normal", description="unit: the normal distribution function of a normal value"
    )
    r2: Open = Field(0.4, description="reachable share of variance, on the normal scale")
    mean: Annotated[float, Field(ge=-1e12, le=1e12)] = Field(
        0.0,
        description="of the value (normal), of its logarithm (lognormal, at most 20) or before the "
        "squash",
    )
    spread: Annotated[float, Field(gt=0.0, le=5.0)] = Field(
        1.0, description="standard deviation of the value, of its logarithm, or before the squash"
    )

    target = RegressionTarget

    @model_validator(mode="after")
    def _is_a_float32(self) -> Self:
        if self.distribution == "lognormal" and self.mean > _LARGEST_LOGARITHM:
            raise ValueError(
                f"mean of a lognormal is of its logarithm: at most {_LARGEST_LOGARITHM}"
            )
        return self

    def fit(self, counts: Array, rng: Rng) -> RegressionTarget:
        """Draws nothing."""
        return RegressionTarget.fit(
            counts,
            distribution=self.distribution,
            mean=self.mean,
            spread=self.spread,
            r2=self.r2,
            noise=self.label_noise,
        )

    def trained(self) -> dict[str, object]:
        """A heavy tail is learned by its logarithm."""
        heavy = {"transform": "log1p"} if self.distribution == "lognormal" else {}
        return super().trained() | heavy
