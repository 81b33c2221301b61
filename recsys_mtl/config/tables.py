"""Embedding tables that several features share: the settings of each, given at one or at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import CategoryConfigBase, FeatureConfig
from recsys_mtl.config.yaml_text import KeyPath

_SETTINGS = (
    "encoding",
    "buckets",
    "rows",
    "min_count",
    "max_size",
    "storage",
    "dim",
    "unknown_dropout",
    "null_values",
)
"""Keys of a feature that speak of its table."""


def part_of(name: str, part: str) -> str:
    """The name of the feature that a part of another one is."""
    return f"{name}.{part}"


def table_of(name: str, feature: CategoryConfigBase) -> str:
    """The name of a feature's table."""
    return feature.table or name


def with_parts(
    features: Mapping[str, FeatureConfig],
) -> Iterator[tuple[str, KeyPath, FeatureConfig]]:
    """(name, path, section) of every feature, and of its parts as features of their own."""
    for name, feature in features.items():
        yield name, ("features", name), feature
        for part, section in feature.parts.items():
            if section.column is None:
                section = type(section).model_validate(section.model_dump() | {"column": part})
            yield part_of(name, part), ("features", name, "attributes", part), section


def sections_of(features: Mapping[str, FeatureConfig]) -> dict[str, FeatureConfig]:
    """The sections of features and their parts, each with the settings of its table."""
    chosen, sections = _settings(features), dict[str, FeatureConfig]()
    for name, _, feature in with_parts(features):
        sections[name] = feature
        if isinstance(feature, CategoryConfigBase):
            of_table = chosen[table_of(name, feature)]
            if of_table != _chosen(feature):
                sections[name] = type(feature).model_validate(feature.model_dump() | of_table)
    return sections


def table_contradictions(features: Mapping[str, FeatureConfig]) -> Iterator[Finding]:
    """Settings of one table that differ between its features, or do not go together."""
    first: dict[tuple[str, str], tuple[str, Any]] = {}
    settings = _settings(features)
    for name, path, feature in _with_tables(features):
        for key, value in _chosen(feature).items():
            owner, known = first.setdefault((table_of(name, feature), key), (name, value))
            if known != value:
                yield Finding(
                    (*path, key),
                    f"another {key} of table '{table_of(name, feature)}'",
                    f"{show(known)}, as of feature '{owner}'",
                    show(value),
                    "give it once",
                )
        encoding = settings[table_of(name, feature)].get("encoding", "vocabulary")
        if encoding != "vocabulary" and feature.unknown_dropout:
            how = "hashed" if encoding == "hash" else "of ids"
            what = f"table '{table_of(name, feature)}' is {how}, which counts no values"
            at = (*path, "unknown_dropout")
            yield Finding(at, what, "encoding: vocabulary", f"encoding: {encoding}", "leave it out")


def _with_tables(
    features: Mapping[str, FeatureConfig],
) -> Iterator[tuple[str, KeyPath, CategoryConfigBase]]:
    for name, path, feature in with_parts(features):
        if isinstance(feature, CategoryConfigBase):
            yield name, path, feature


def _settings(features: Mapping[str, FeatureConfig]) -> dict[str, dict[str, Any]]:
    """What was chosen for each table."""
    chosen: dict[str, dict[str, Any]] = {}
    for name, _, feature in _with_tables(features):
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
