"""The model that a training starts from, and what of its preprocessing is kept.

The parent's weights mean something only with what was fitted for it. So numbers and labels keep the
parent's statistics; vocabularies are those of the new rows, with the parent's other values behind
them; a table whose width the config leaves open keeps its width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.stored_vocabulary import grown
from recsys_mtl.config.schema import Config
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import Problem, UserError
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.table import TableFeature, features_by_table
from recsys_mtl.tasks import Label

_FRESH = "train without warm_start, or with take: tables"


@dataclass(frozen=True)
class Parent:
    """A trained model that a training starts from.

    Attributes:
        config: its run.
        preprocessor: what was fitted for it.
        weights: its network's state dict.
        optimizer: state of its optimizers, see `recsys_mtl.training.optimizer_tensors`; empty where
            none is stored.
        facts: what result.json says of it.
    """

    config: Config
    preprocessor: Preprocessor
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def continued(config: Config, fitted: Preprocessor, parent: Parent) -> Preprocessor:
    """The preprocessing of the new rows with what is kept of the parent's.

    Args:
        config: the new run, whose `training.warm_start` says what is taken.
        fitted: on the new rows; its vocabularies may grow in place.
        parent: the model to start from.

    Raises:
        UserError: a feature or label is encoded otherwise than the parent's.
    """
    warm = config.training.warm_start
    tables = features_by_table(parent.preprocessor.features)
    ours, theirs = _unfitted(config), _unfitted(parent.config)
    asked = {feature.name: feature for feature in ours.features}
    for number, (key, features) in enumerate(features_by_table(fitted.features).items()):
        if key not in tables:
            continue
        old, coder = tables[key][0], features[0].coder
        if warm.vocabulary == "grow":
            coder = grown(coder, old.coder, number)
        for feature in features:
            feature.coder = coder
            unfitted = asked[feature.name]
            if isinstance(unfitted, TableFeature) and not unfitted.dim:
                feature.dim = old.dim
    if warm.take == "tables":
        return fitted
    problems = [*_differences(_by_path(ours), _by_path(theirs))]
    if problems:
        raise UserError(*problems)
    old_features = {feature.name: feature for feature in parent.preprocessor.features}
    labels = parent.preprocessor.labels
    kept = replace(
        fitted,
        features=tuple(_kept_feature(f, old_features[f.name]) for f in fitted.features),
        labels={
            name: label.kept(labels[name], grow=warm.vocabulary == "grow")
            for name, label in fitted.labels.items()
        },
    )
    problems = [*_other_shapes(kept, parent.preprocessor), *_other_network(config, parent.config)]
    if problems:
        raise UserError(*problems)
    return kept


def _kept_feature(feature: Feature, parent: Feature) -> Feature:
    """The parent's statistics; a table's feature is as it is."""
    return feature if isinstance(feature, TableFeature) else replace(parent, column=feature.column)


def _unfitted(config: Config) -> Preprocessor:
    """The encoders of a config."""
    return Preprocessor.unfitted(
        config.features,
        config.tasks,
        weight=config.data.weight,
        default_dim=config.model.embedding.dim,
    )


def _by_path(encoders: Preprocessor) -> dict[str, ColumnEncoder]:
    """Encoders by their path in the config, in order."""
    features = {f"features.{feature.name}": feature for feature in encoders.features}
    return {**features, **{f"tasks.{name}": label for name, label in encoders.labels.items()}}


def _differences(
    ours: Mapping[str, ColumnEncoder], theirs: Mapping[str, ColumnEncoder]
) -> Iterator[Problem]:
    """Features and tasks that are not the parent's, or are encoded otherwise."""
    for path in dict.fromkeys([*ours, *theirs]):
        if path not in theirs:
            yield Problem("the parent has no such part", path, fix=_FRESH)
        elif path not in ours:
            yield Problem("the parent has it, and this run does not", path, fix=_FRESH)
        elif keys := [
            k for k, v in _settings(ours[path]).items() if v != _settings(theirs[path])[k]
        ]:
            found = ", ".join(keys)
            yield Problem("not encoded as in the parent", path, found=found, fix=_FRESH)
    if list(ours) != list(theirs) and ours.keys() == theirs.keys():
        what = "features and tasks are not in the parent's order"
        yield Problem(what, "config", ", ".join(theirs), ", ".join(ours))


def _settings(encoder: ColumnEncoder) -> dict[str, Any]:
    """What changes the meaning of encoded values; a column may have another name."""
    state = encoder.to_dict()
    tuned = ("column", "dim", "coder") if isinstance(encoder, TableFeature) else ("column",)
    return {"kind": type(encoder).__name__} | {k: v for k, v in state.items() if k not in tuned}


def _other_shapes(ours: Preprocessor, theirs: Preprocessor) -> Iterator[Problem]:
    """Features and tasks whose width is not the parent's."""
    shapes = {feature.name: _shape(feature) for feature in theirs.spec.features}
    for feature in ours.spec.features:
        old, new = shapes[feature.name], _shape(feature)
        if old != new:
            where = f"features.{feature.name}"
            yield Problem("not as wide as in the parent", where, str(old), str(new), _FRESH)
    for name, label in ours.labels.items():
        if problem := _other_classes(name, label, theirs.labels[name]):
            yield problem


def _shape(feature: FeatureSpec) -> list[Any]:
    return [feature.width, *((table.dim, table.pooling) for table in feature.tables)]


def _other_classes(name: str, label: Label, parent: Label) -> Problem | None:
    outputs = [one.spec.outputs for one in (parent, label)]
    if outputs[0] == outputs[1]:
        return None
    what = "not as many outputs as in the parent"
    return Problem(what, f"tasks.{name}", str(outputs[0]), str(outputs[1]), _FRESH)


def _other_network(config: Config, parent: Config) -> Iterator[Problem]:
    """Settings that change what equal weights compute."""
    for key in ("architecture", "activation", "normalization", "match_width", "logit_transfer"):
        ours, theirs = getattr(config.model, key), getattr(parent.model, key)
        if ours != theirs:
            yield Problem(
                "not the parent's network", f"model.{key}", str(theirs), str(ours), _FRESH
            )
