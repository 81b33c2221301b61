"""Gradients of single tasks, their means over micro-batches and processes, ways to combine them.

A combiner turns the tasks' gradients of shared parameters into one::

    partition = Partition.each([rows.shape[1] for rows in gradients])
    combiner = make_combiner("cagt", tasks, partition)
    combined = combiner.combine(gradients, present, step=step)

Each is one file and one name in `COMBINERS`; those of torchjd are in `from_torchjd`.
"""

from __future__ import annotations

from recsys_mtl.gradients.averaging import over_processes, sum_over_processes, weighted_mean
from recsys_mtl.gradients.combiner import Combined, Combiner, GramCombiner, TaskWeights
from recsys_mtl.gradients.combiners import COMBINERS, make_combiner
from recsys_mtl.gradients.diagnostics import Diagnostics
from recsys_mtl.gradients.draws import own_draws
from recsys_mtl.gradients.gradnorm import GradNorm
from recsys_mtl.gradients.output_gradients import output_gradients
from recsys_mtl.gradients.partition import Partition, RowSplit
from recsys_mtl.gradients.parts import Activation, Part, add_gradients, partition_of
from recsys_mtl.gradients.summary import ConflictLog, Conflicts
from recsys_mtl.gradients.task_gradients import Block, task_gradients

__all__ = [
    "COMBINERS",
    "Activation",
    "Block",
    "Combined",
    "Combiner",
    "ConflictLog",
    "Conflicts",
    "Diagnostics",
    "GradNorm",
    "GramCombiner",
    "Part",
    "Partition",
    "RowSplit",
    "TaskWeights",
    "add_gradients",
    "make_combiner",
    "output_gradients",
    "over_processes",
    "own_draws",
    "partition_of",
    "sum_over_processes",
    "task_gradients",
    "weighted_mean",
]
