"""The hidden state of a row, and what part of it the columns are about.

    z   (K,)  of the customer          w, e  (K,)  of the row
    x = sqrt(persistence) z + sqrt(1 - persistence) w      what columns may show
    u = sqrt(revealed) x + sqrt(1 - revealed) e            what tasks read

All are standard normal with independent coordinates, so correlations are known exactly.
Personas are the cells of the nearest prototype in the space of z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_synth.plan import Plan
from data_synth.targets.base import Rng

Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class CustomerStates:
    """The customers of one block.

    Attributes:
        first: number of the first one.
        z: (C, K) state.
        persona: (C,) nearest prototype.
    """

    first: int
    z: Floats32
    persona: NDArray[np.int64]


@dataclass(frozen=True)
class RowStates:
    """The rows of one block.

    Attributes:
        customer: (R,) index among the block's customers.
        day: (R,) days since the period's start.
        x: (R, K) what the columns are about.
        u: (R, K) what the tasks read.
    """

    customer: NDArray[np.int64]
    day: NDArray[np.int64]
    x: Floats32
    u: Floats32


def draw_customers(rng: Rng, first: int, count: int, prototypes: Floats32) -> CustomerStates:
    """`count` customers, numbered from `first`; prototypes (P, K)."""
    z = rng.standard_normal((count, prototypes.shape[1]), dtype=np.float32)
    return CustomerStates(first, z, (z @ prototypes.T).argmax(axis=1))


def draw_state(rng: Rng, plan: Plan, rows: int, customers: CustomerStates) -> RowStates:
    """`rows` rows of the customers, some with more rows than others."""
    count, width = customers.z.shape
    customer = (count * rng.random(rows) ** 1.25).astype(np.int64)
    day = rng.integers(plan.period.days, size=rows)
    persistence, revealed = plan.customers.persistence, plan.features.revealed
    x = rng.standard_normal((rows, width), dtype=np.float32)
    x *= np.float32(np.sqrt(1 - persistence))
    x += np.float32(np.sqrt(persistence)) * customers.z[customer]
    u = rng.standard_normal((rows, width), dtype=np.float32)
    u *= np.float32(np.sqrt(1 - revealed))
    u += np.float32(np.sqrt(revealed)) * x
    return RowStates(customer, day, x, u)
