"""Whether a task means the same to two models: its kind, and its labels row by row.

Shapes: R rows of the set.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys_mtl.tasks.label import Label
from recsys_mtl.tasks.multiclass import MulticlassLabel
from recsys_mtl.tasks.retrieval import RetrievalLabel
from recsys_mtl.training.evaluate import Array

Tasks = Mapping[str, Label]
_RELATIVE = 1e-4  # labels went through float32 and a transform of each model's own


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
    theirs, ours = theirs[known], ours[known]
    same = _same(champion, challenger, theirs, ours)
    return "" if same else "the models read different labels from the same rows"


def _same(champion: Label, challenger: Label, theirs: Array, ours: Array) -> bool:
    if isinstance(champion, MulticlassLabel) and isinstance(challenger, MulticlassLabel):
        a, b = np.array(champion.classes), np.array(challenger.classes)
        return bool((a[theirs.astype(np.int64)] == b[ours.astype(np.int64)]).all())
    if isinstance(champion, RetrievalLabel) and isinstance(challenger, RetrievalLabel):
        both = (theirs > 0) & (ours > 0)
        a, b = np.array(champion.items), np.array(challenger.items)
        return bool(
            (a[theirs[both].astype(np.int64) - 1] == b[ours[both].astype(np.int64) - 1]).all()
        )
    if champion.kind == "regression":
        near = _RELATIVE * float(np.std(theirs)) if len(theirs) else 0.0
        return bool(np.allclose(theirs, ours, rtol=_RELATIVE, atol=near))
    return bool(np.array_equal(theirs, ours))
