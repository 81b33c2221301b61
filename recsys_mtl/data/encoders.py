"""From the configuration's tasks to encoders that can be fitted."""

from __future__ import annotations

from recsys_mtl.columns.canonical import canonical_texts
from recsys_mtl.config.tasks import (
    BinaryConfig,
    MulticlassConfig,
    RegressionConfig,
    TaskConfig,
)
from recsys_mtl.tasks.binary import BinaryLabel
from recsys_mtl.tasks.label import Label
from recsys_mtl.tasks.multiclass import MulticlassLabel
from recsys_mtl.tasks.regression import RegressionLabel
from recsys_mtl.tasks.retrieval import RetrievalLabel


def label_encoder(name: str, task: TaskConfig) -> Label:
    """An unfitted encoder of a task's label."""
    column, nulls = task.label or name, canonical_texts(task.null_values)
    if isinstance(task, BinaryConfig):
        positive = None if task.positive is None else canonical_texts([task.positive])[0]
        return BinaryLabel(column, name, positive, null_values=nulls)
    if isinstance(task, MulticlassConfig):
        return MulticlassLabel(column, name, canonical_texts(task.classes or []), null_values=nulls)
    if isinstance(task, RegressionConfig):
        return RegressionLabel(column, name, task.transform, null_values=nulls)
    return RetrievalLabel(column, name, task.dim, task.max_items, null_values=nulls)
