"""Whether a task means the same to two models: its kind, and its labels row by row.

Shapes: R rows of the set.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys_mtl.tasks.label import Label
from recsys_mtl.training.evaluate import Array

Tasks = Mapping[str, Label]


def difference_of_kind(task: str, champion: Tasks, challenger: Tasks) -> str:
    """Why the task cannot be compared whatever the rows; empty where it can."""
    theirs, ours = champion[task], challenger.get(task)
    if ours is None:
        return "the challenger lacks it"
    if ours.kind != theirs.kind:
        return f"the challenger's is {ours.kind}, the champion's {theirs.kind}"
    return ""


def difference_of_labels(champion: Label, challenger: Label, theirs: Array, ours: Array) -> str:
    """Why two models' labels (R,) of the same rows are not the same; empty where they are.

    Of retrieval tasks, items that either catalogue lacks may differ: they count as misses.
    """
    known = ~np.isnan(theirs)
    if not np.array_equal(known, ~np.isnan(ours)):
        return "the models take different rows as labelled"
    same = champion.reads_same(challenger, theirs[known], ours[known])
    return "" if same else "the models read different labels from the same rows"
