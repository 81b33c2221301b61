"""Demographic columns: correlated by a Gaussian copula, the same in all rows of a customer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri

from data_synth.columns.numeric import Mask, at_random, not_at_random
from data_synth.plan import Missing
from data_synth.state import Floats32
from data_synth.targets.base import Rng

EDUCATION = ("primary", "secondary", "bachelor", "master")
REGIONS = tuple(f"region_{index:02}" for index in range(20))
_EDUCATION_STEPS = ndtri([0.15, 0.60, 0.88])
_HOUSEHOLD_STEPS = ndtri([0.30, 0.62, 0.79, 0.93, 0.98])
_GRID = np.linspace(-5, 5, 1001)
_AGES = 18 + 72 * betaincinv(1.6, 2.6, ndtr(_GRID))
_HOME = 0.6  # share of a persona's customers that live in its three regions


@dataclass(frozen=True)
class Demographics:
    """Columns of the customers of a block, (C,) each.

    Attributes:
        columns: values by column.
        nulls: by column that has some.
    """

    columns: dict[str, NDArray[np.generic]]
    nulls: dict[str, Mask]

    def of_rows(self, customer: NDArray[np.int64]) -> dict[str, pa.Array]:
        """The columns of the rows (R,) of these customers; texts as dictionaries."""
        names = {"education": EDUCATION, "region": REGIONS}
        arrays = {}
        for name, values in self.columns.items():
            mask = self.nulls[name][customer] if name in self.nulls else None
            array = pa.array(values[customer], mask=mask)
            if name in names:
                array = pa.DictionaryArray.from_arrays(array, pa.array(names[name]))
            arrays[name] = array
        return arrays


def demographics(
    views: Floats32, persona: NDArray[np.int64], missing: Missing, rng: Rng
) -> Demographics:
    """Draw the demographics of customers.

    Args:
        views: (C, D) standard normal, in the order of `views.DEMOGRAPHICS`.
        persona: (C,) decides the likely regions.
        missing: shares of nulls of age and income.
        rng: of regions and nulls.
    """
    age, income, tenure, household, education = np.ascontiguousarray(views.T)
    count = len(persona)
    home = (3 * persona + rng.integers(3, size=count)) % len(REGIONS)
    anywhere = rng.integers(len(REGIONS), size=count)
    region = np.where(rng.random(count) < _HOME, home, anywhere)
    return Demographics(
        columns={
            "age": np.interp(age, _GRID, _AGES).astype(np.int16),
            "income": np.exp(np.float32(10.3) + np.float32(0.6) * income),
            "tenure_months": (-48.0 * np.log(ndtr(-tenure))).astype(np.int32),
            "household": 1 + np.searchsorted(_HOUSEHOLD_STEPS, household).astype(np.int8),
            "education": np.searchsorted(_EDUCATION_STEPS, education).astype(np.int8),
            "region": region.astype(np.int8),
        },
        nulls={
            "age": at_random(count, missing.at_random, rng),
            "income": not_at_random(income, missing.not_at_random, rng),
        },
    )
