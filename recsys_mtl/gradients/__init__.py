"""Gradients of single tasks, and their means over micro-batches and processes."""

from __future__ import annotations

from recsys_mtl.gradients.averaging import over_processes, sum_over_processes, weighted_mean
from recsys_mtl.gradients.output_gradients import output_gradients
from recsys_mtl.gradients.task_gradients import Block, task_gradients

__all__ = [
    "Block",
    "output_gradients",
    "over_processes",
    "sum_over_processes",
    "task_gradients",
    "weighted_mean",
]
