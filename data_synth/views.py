"""Noisy linear views of the state, of the row or of the customer, that become columns.

K  width of the state      V  views of the row      D  demographic views, of the customer
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_synth.plan import Plan
from data_synth.relations import square_root
from data_synth.response import Floats
from data_synth.state import Floats32
from data_synth.targets.base import Rng

DEMOGRAPHICS = ("age", "income", "tenure_months", "household", "education")
COPULA = np.array(
    [
        [1.00, 0.35, 0.55, 0.10, 0.05],
        [0.35, 1.00, 0.25, 0.20, 0.45],
        [0.55, 0.25, 1.00, 0.10, 0.00],
        [0.10, 0.20, 0.10, 1.00, -0.05],
        [0.05, 0.45, 0.00, -0.05, 1.00],
    ]
)
_NEIGHBOUR = 0.4  # how much of the next direction a view shows in addition to its own


@dataclass(frozen=True)
class Views:
    """Directions of the views and their noise.

    Attributes:
        row: (V, K) unit directions in the space of x, of numeric, then categorical columns, then
            lists.
        customer: (D, K) directions in the space of z, with the correlations of the copula.
        noise: share of a view's variance that is its own.
        persistence: share of x's variance that is z's.
        revealed: share of u's variance that is x's.
    """

    row: Floats32
    customer: Floats32
    noise: float
    persistence: float
    revealed: float

    @classmethod
    def draw(cls, plan: Plan, width: int, rng: Rng) -> Views:
        """Directions that reach all of the state once there are as many columns as its width."""
        features = plan.features
        turned, _ = np.linalg.qr(rng.standard_normal((width, width)))
        count = features.numeric + len(features.categorical) + len(features.lists)
        own = np.arange(count) % width
        row = (turned[own] + _NEIGHBOUR * turned[(own + 1) % width]) / np.hypot(1, _NEIGHBOUR)
        turned, _ = np.linalg.qr(rng.standard_normal((width, width)))
        customer = square_root(COPULA) @ turned[: len(COPULA)]
        if not features.demographics:
            customer = customer[:0]
        return cls(
            row=row.astype(np.float32),
            customer=customer.astype(np.float32),
            noise=features.noise,
            persistence=plan.customers.persistence,
            revealed=features.revealed,
        )

    def of_rows(self, x: Floats32, rng: Rng) -> Floats32:
        """(R, V) views of x (R, K), each standard normal."""
        views = rng.standard_normal((len(x), len(self.row)), dtype=np.float32)
        views *= np.float32(np.sqrt(self.noise))
        views += np.float32(np.sqrt(1 - self.noise)) * (x @ self.row.T)
        return views

    def of_customers(self, z: Floats32, rng: Rng) -> Floats32:
        """(C, D) views of z (C, K), standard normal with the correlations of the copula."""
        own = rng.standard_normal((len(z), len(self.customer)), dtype=np.float32)
        views = np.float32(np.sqrt(1 - self.noise)) * (z @ self.customer.T)
        if len(self.customer):
            root = square_root(COPULA).astype(np.float32)
            views += np.float32(np.sqrt(self.noise)) * (own @ root)
        return views

    def known(self, reading: Floats) -> Floats:
        """(T,) share of the variance of reading (T, K) @ u that all views together determine."""
        row, customer = self.row.astype(np.float64), self.customer.astype(np.float64)
        if not len(row) + len(customer):
            return np.zeros(len(reading))
        kept, tied = 1 - self.noise, np.sqrt(self.persistence)
        within = kept * row @ row.T + self.noise * np.eye(len(row))
        across = kept * tied * row @ customer.T
        own = customer @ customer.T  # noise has the copula's correlations too
        spread = np.block([[within, across], [across.T, own]])
        shown = np.hstack([row.T, tied * customer.T])  # of x
        signal = np.sqrt(self.revealed * kept) * reading @ shown
        known: Floats = np.einsum("tv,vt->t", signal, np.linalg.pinv(spread) @ signal.T)
        return np.clip(known, 0.0, 1.0)
