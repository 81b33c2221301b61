"""Cosine of averaged gradients of a linear probe of the input.

The cosine of two noisy gradients is near 0 whatever their means are; averaging comes first here.

Shapes: B rows, T tasks, I inputs, C_i output columns of task i, K = Σ C_i.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recsys_mtl.adatt.measures.ema import Ema
from recsys_mtl.adatt.measures.measure import Measure, Shapes, exact
from recsys_mtl.adatt.measures.observation import Observation, required
from recsys_mtl.adatt.measures.similarity import block_similarity, join, membership

_FLAT = 2e-6  # relative to the values' size: what rounding of float32 means can make


def probe_gradients(
    inputs: Tensor,
    residuals: Tensor,
    counts: Tensor,
    sum_over_processes: Callable[[Tensor], Tensor] = lambda t: t,
) -> Tensor:
    """Gradients `mean over labelled rows of x ⊗ residual` of linear predictors that start at 0.

    Args:
        inputs: (B, I); standardised here over all rows of all processes, labelled or not. A
            column that does not vary gives 0.
        residuals: (B, K), 0 in unlabelled rows.
        counts: (K,) labelled rows of each column's task, over all processes.
        sum_over_processes: see `Observation`.

    Returns:
        (I, K); columns without labelled rows are 0.
    """
    sums = sum_over_processes(torch.cat([inputs.sum(0), inputs.new_tensor([len(inputs)])]))
    rows = sums[-1].clamp_min(1)
    mean = sums[:-1] / rows
    centred = inputs - mean
    both = torch.cat([centred.square().sum(0).unsqueeze(1), centred.T @ residuals], 1)
    both = sum_over_processes(both)
    variance = both[:, :1] / rows
    flat = variance <= _FLAT**2 * (variance + mean.square().unsqueeze(1))
    scale = torch.where(flat, torch.ones_like(variance), variance).sqrt()
    products = torch.where(flat, torch.zeros_like(both[:, 1:]), both[:, 1:])
    return products / scale / counts.clamp_min(1)


class AveragedGradient(Measure):
    """EMA of each task's `probe_gradients`, then `block_similarity` of the averages.

    It uses inputs and labels only, so it does not depend on what the network has learned. Tasks
    without labelled rows keep their average. Pairs of one-column tasks have a signed cosine,
    others are never negative (see `block_similarity`).

    Args:
        shapes: tasks, inputs and widths.
        decay: α.
        debias: see `Ema`.

    Raises:
        ValueError: inputs or widths are missing.
    """

    def __init__(self, shapes: Shapes, *, decay: float = 0.9, debias: bool = True) -> None:
        super().__init__(shapes.tasks)
        if shapes.inputs < 1 or len(shapes.widths) != shapes.tasks:
            raise ValueError(
                f"shapes: averaged_gradient expected inputs and one width for each of "
                f"{shapes.tasks} tasks, found {shapes.inputs} inputs and widths {shapes.widths}"
            )
        self.inputs = shapes.inputs
        self.widths = list(shapes.widths)
        columns = sum(self.widths)
        self.average = Ema((shapes.inputs, columns), (columns,), decay=decay, debias=debias)

    def pair_counts(self) -> Tensor:
        """(1, T, T) int64: the smaller of the two tasks' counts."""
        first = torch.tensor(self.widths, device=self.latest.device).cumsum(0) - 1
        counts = self.average.counts[first]
        return torch.minimum(counts, counts.unsqueeze(1)).unsqueeze(0)

    def observe(self, observation: Observation) -> bool:
        """Takes inputs and residuals; see `Measure.observe`."""
        inputs = required(observation.inputs, "inputs", "averaged_gradient")
        columns, widths = join(
            required(observation.residuals, "residuals", "averaged_gradient"), "residuals"
        )
        if widths != self.widths or inputs.shape[-1] != self.inputs:
            raise ValueError(
                f"averaged_gradient: expected {self.inputs} inputs and residuals of widths "
                f"{self.widths}, found {inputs.shape[-1]} and {widths}"
            )
        with exact(self.latest):
            of = membership(widths, columns)
            counts = of @ observation.counts.float()
            gradients = probe_gradients(
                inputs.float(), columns, counts, observation.sum_over_processes
            )
            if not self._accept(gradients):
                return False
            self.average.update(gradients, counts > 0)
            average = self.average.value()
            self._show(block_similarity(average.T @ average, widths).unsqueeze(0))
        return True
