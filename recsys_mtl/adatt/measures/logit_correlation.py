"""Correlation of the tasks' outputs: costs no gradients, and loses nothing on few rows.

Shapes: B rows, T tasks, C_i output columns of task i, K = Σ C_i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recsys_mtl.adatt.measures.ema import Ema
from recsys_mtl.adatt.measures.measure import Measure, Shapes, exact
from recsys_mtl.adatt.measures.observation import Observation, required
from recsys_mtl.adatt.measures.similarity import block_similarity, join, membership

_FLAT = 2e-6  # relative to the values' size: what rounding of float32 means can make


def output_correlations(
    outputs: Sequence[Tensor],
    sum_over_processes: Callable[[Tensor], Tensor] = lambda t: t,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Correlations of task outputs over all rows of all processes.

    Args:
        outputs: T tensors (B, C_i).
        sum_over_processes: see `Observation`.
        weights: (B,) of the rows; None: all 1.

    Returns:
        (T, T) `block_similarity` of the centred outputs, and (T,) bool: which outputs vary, that
        is by more than the rounding of float32. The correlation of one that does not is
        meaningless.
    """
    columns, widths = join(outputs, "outputs")
    mass = columns.new_ones(len(columns)) if weights is None else weights.to(columns)
    sums = sum_over_processes(torch.cat([(mass[:, None] * columns).sum(0), mass.sum()[None]]))
    rows = torch.where(sums[-1] > 0, sums[-1], 1)
    mean = sums[:-1] / rows
    centred = columns - mean
    products = sum_over_processes(centred.T @ (mass[:, None] * centred))
    of = membership(widths, products)
    spread, offset = products.diagonal() @ of, rows * mean.square() @ of
    varies = ~(spread <= _FLAT**2 * (spread + offset))
    return block_similarity(products, widths), varies


class LogitCorrelation(Measure):
    """EMA of `output_correlations`.

    Pairs of one-column tasks have a signed correlation; pairs with a multiclass or retrieval task
    the square root of the RV coefficient, which has no sign: they are never negative, and no
    threshold can block them.

    Every row counts by its weight, labelled or not, so absent tasks are measured too. A pair with
    an output that does not vary in a batch does not change.

    Args:
        shapes: tasks.
        decay: α.
        debias: see `Ema`.
    """

    def __init__(self, shapes: Shapes, *, decay: float = 0.9, debias: bool = True) -> None:
        super().__init__(shapes.tasks)
        size = (1, shapes.tasks, shapes.tasks)
        self.average = Ema(size, size, decay=decay, debias=debias)

    def pair_counts(self) -> Tensor:
        """(1, T, T) int64."""
        return self.average.counts

    def observe(self, observation: Observation) -> bool:
        """Takes the outputs; see `Measure.observe`."""
        outputs = required(observation.outputs, "outputs", "logit_correlation")
        with exact(self.average.mean):
            correlations, varies = output_correlations(
                outputs, observation.sum_over_processes, observation.weights
            )
            if not self._accept(correlations):
                return False
            observed = (varies & varies.unsqueeze(1)).unsqueeze(0)
            self.average.update(correlations.unsqueeze(0), observed)
            self._show(self.average.value())
        return True
