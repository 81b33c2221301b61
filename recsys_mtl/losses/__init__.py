"""Losses of rows, of tasks, and of all tasks together."""

from __future__ import annotations

from recsys_mtl.losses.balancer import Balancer
from recsys_mtl.losses.balancing import BALANCERS, make_balancer
from recsys_mtl.losses.candidates import Candidates
from recsys_mtl.losses.entire_space import Through
from recsys_mtl.losses.per_task import ItemLoss, TaskLoss, TaskLosses

__all__ = [
    "BALANCERS",
    "Balancer",
    "Candidates",
    "ItemLoss",
    "TaskLoss",
    "TaskLosses",
    "Through",
    "make_balancer",
]
