"""Embedding tables that several features share: the settings of each, given at one or at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import CategoryConfigBase, FeatureConfig

_SETTINGS = (
    "encoding",
    "buckets",
    "min_count",
    "max_size",
    "dim",
    "unknown_dropout",
    "null_values",
)
"""Keys of a feature that speak of its table."""


def table_of(name: str, feature: CategoryConfigBase) -> str:
    """The name of a feature's table."""
    return feature.table or name


def sections_of(features: Mapping[str, FeatureConfig]) -> dict[str, FeatureConfig]:
    """The sections of features, each with the settings of its table."""
    chosen, sections = _settings(features), dict(features)
    for name, feature in _with_tables(features):
        of_table = chosen[table_of(name, feature)]
        if of_table != _chosen(feature):
            sections[name] = type(feature).model_validate(feature.model_dump() | of_table)
    return sections


def table_contradictions(features: Mapping[str, FeatureConfig]) -> Iterator[Finding]:
    """Settings of one table that differ between its features, or do not go together."""
    first: dict[tuple[str, str], tuple[str, Any]] = {}
    for name, feature in _with_tables(features):
        for key, value in _chosen(feature).items():
            owner, known = first.setdefault((table_of(name, feature), key), (name, value))
            if known != value:
                yield Finding(
                    ("features", name, key),
                    f"another {key} of table '{table_of(name, feature)}'",
                    f"{show(known)}, as of feature '{owner}'",
                    show(value),
                    "give it once",
                )
    settings = _settings(features)
    for name, feature in _with_tables(features):
        hashed = settings[table_of(name, feature)].get("encoding") == "hash"
        if hashed and feature.unknown_dropout:
            what = f"table '{table_of(name, feature)}' is hashed, which counts no values"
            at = ("features", name, "unknown_dropout")
            yield Finding(at, what, "encoding: vocabulary", "encoding: hash", "leave it out")


def _with_tables(
    features: Mapping[str, FeatureConfig],
) -> Iterator[tuple[str, CategoryConfigBase]]:
    for name, feature in features.items():
        if isinstance(feature, CategoryConfigBase):
            yield name, feature


def _settings(features: Mapping[str, FeatureConfig]) -> dict[str, dict[str, Any]]:
    """What was chosen for each table."""
    chosen: dict[str, dict[str, Any]] = {}
    for name, feature in _with_tables(features):
        chosen.setdefault(table_of(name, feature), {}).update(_chosen(feature))
    return chosen


def _chosen(feature: CategoryConfigBase) -> dict[str, Any]:
    """What the user chose for the table; a default spelt out (dumped) is no choice."""
    fields = type(feature).model_fields
    values = {key: getattr(feature, key) for key in _SETTINGS}
    return {
        key: value
        for key, value in values.items()
        if value != fields[key].get_default(call_default_factory=True)
    }
