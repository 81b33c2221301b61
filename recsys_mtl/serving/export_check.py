"""Compares an exported network with the original network on made-up rows.

Shapes: B rows.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.features.registry import KINDS, blocks_of
from recsys_mtl.serving.exported import Program, inputs_of
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tasks import kind_of

CHECKED_ROWS = (3, 1, 2, 7, 100, 700)
_LONGEST = 5  # list of the made-up rows


@torch.no_grad()
def largest_difference(program: Program, predictor: Predictor) -> float:
    """From the predictor, over batches of many sizes with and without list entries.

    Absolute up to 1 and relative above, as a large number has fewer decimal digits.
    """
    spec = predictor.preprocessor.spec
    worst = 0.0
    for rows in CHECKED_ROWS:
        for longest in (_LONGEST, 0):
            batch = made_up_rows(spec, rows, longest)
            expected = predictor.raw_outputs(batch)
            exported = program(*inputs_of(batch))
            for task in predictor.tasks:
                scores = partial(predictor.network.scores, task.name)
                own = expected[task.name]
                pairs = kind_of(task.kind).compared(task.name, exported, own, scores)
                worst = max(worst, *(_difference(actual, wanted) for actual, wanted in pairs))
    return worst


def _difference(actual: Tensor, expected: Tensor) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    apart = (actual - expected).abs() / expected.abs().clamp_min(1)
    return float(apart.nan_to_num(nan=torch.inf).max())


def made_up_rows(spec: DataSpec, rows: int, longest: int = _LONGEST) -> Batch:
    """Made-up encoded rows, the same for the same arguments; their first list is empty."""
    generator = torch.Generator().manual_seed(rows)
    features = [
        (f.name, f.kind, KINDS[f.kind].random_part(f, rows, longest, generator))
        for f in spec.features
    ]
    return Batch(
        blocks_of(features, rows),
        labels=torch.full((rows, len(spec.tasks)), torch.nan),
        weights=torch.ones(rows),
    )
