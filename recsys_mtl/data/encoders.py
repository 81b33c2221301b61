"""From the configuration's features and tasks to encoders that can be fitted."""

from __future__ import annotations

from recsys_mtl.columns.canonical import canonical_texts
from recsys_mtl.columns.coder import Coder
from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import (
    CategoricalListConfig,
    CategoryConfigBase,
    FeatureConfig,
    NumericConfig,
)
from recsys_mtl.config.tasks import (
    BinaryConfig,
    MulticlassConfig,
    RegressionConfig,
    TaskConfig,
)
from recsys_mtl.features.categorical import CategoricalFeature
from recsys_mtl.features.categorical_list import CategoricalListFeature
from recsys_mtl.features.numeric import NumericFeature
from recsys_mtl.tasks.binary import BinaryLabel
from recsys_mtl.tasks.label import Label
from recsys_mtl.tasks.multiclass import MulticlassLabel
from recsys_mtl.tasks.regression import RegressionLabel
from recsys_mtl.tasks.retrieval import RetrievalLabel


def feature_encoder(name: str, feature: FeatureConfig, default_dim: int) -> ColumnEncoder:
    """An unfitted encoder of a feature; `default_dim` is the width of an embedding."""
    if isinstance(feature, NumericConfig):
        return NumericFeature(name, feature.transform, feature.bins)
    assert isinstance(feature, CategoryConfigBase)
    dim, coder = feature.dim or default_dim, _coder(feature)
    if not isinstance(feature, CategoricalListConfig):
        return CategoricalFeature(name, dim, coder)
    return CategoricalListFeature(
        name, dim, coder, feature.pooling, feature.max_length, feature.separator
    )


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


def _coder(feature: CategoryConfigBase) -> Coder:
    nulls = canonical_texts(feature.null_values)
    if feature.buckets is not None:
        return HashBuckets(nulls, feature.buckets)
    return Vocabulary(nulls, feature.min_count, feature.max_size)
