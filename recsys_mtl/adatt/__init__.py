"""Adaptive Task Transfer, stand-alone: works on any torch module that names its shared parameters.

Not AdaTT of Li et al. (KDD 2023), which fuses representations; this one weighs losses.

Example::

    import torch
    from torch.nn.functional import mse_loss
    from recsys_mtl.adatt import AdaTT, GradientCosine, Observation, Schedule, Shapes
    from recsys_mtl.gradients import task_gradients

    torch.manual_seed(0)
    x, y, present = torch.randn(64, 5), torch.randn(64, 3), torch.ones(3, dtype=torch.bool)
    shared, towers = torch.nn.Linear(5, 8), torch.nn.Linear(8, 3)  # your module
    block = [(parameter, None) for parameter in shared.parameters()]
    adatt = AdaTT(["click", "buy", "value"], GradientCosine(Shapes(3)), Schedule(1, 4))
    optimizer = torch.optim.Adam([*shared.parameters(), *towers.parameters(), adatt.W])
    for epoch in range(6):
        adatt.start_epoch(epoch)
        losses = mse_loss(towers(shared(x).relu()), y, reduction="none").mean(0)
        if adatt.due():
            gradients = lambda: task_gradients(losses, [block], present)
            adatt.observe(Observation(counts=64 * present, gradients=gradients))
        optimizer.zero_grad()
        adatt.losses(losses, present).sum().backward()
        optimizer.step()
"""

from __future__ import annotations

from recsys_mtl.adatt.borrow import (
    donors,
    effective_labels,
    labelled_rows,
    near_best,
    receivers,
    scarcity,
)
from recsys_mtl.adatt.measures import (
    MEASURES,
    AveragedGradient,
    GradientCosine,
    LogitCorrelation,
    Measure,
    Observation,
    Scope,
    Shapes,
    make_measure,
)
from recsys_mtl.adatt.module import AdaTT
from recsys_mtl.adatt.prior import Group, group_prior, prior_blend
from recsys_mtl.adatt.schedule import Phase, Schedule
from recsys_mtl.adatt.settings import Settings
from recsys_mtl.adatt.transfer import enhanced_losses, gradient_coefficients
from recsys_mtl.adatt.weights import Masking, Selection, transfer_weights

__all__ = [
    "MEASURES",
    "AdaTT",
    "AveragedGradient",
    "GradientCosine",
    "Group",
    "LogitCorrelation",
    "Masking",
    "Measure",
    "Observation",
    "Phase",
    "Schedule",
    "Scope",
    "Selection",
    "Settings",
    "Shapes",
    "donors",
    "effective_labels",
    "enhanced_losses",
    "gradient_coefficients",
    "group_prior",
    "labelled_rows",
    "make_measure",
    "near_best",
    "prior_blend",
    "receivers",
    "scarcity",
    "transfer_weights",
]
