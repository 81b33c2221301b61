"""The kinds of features by name; `register` adds one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from torch import nn

from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.config.features import (
    CategoricalConfig,
    CategoricalListConfig,
    FeatureConfig,
    NumericConfig,
    SequenceConfig,
)
from recsys_mtl.config.shape import tags
from recsys_mtl.config.tables import sections_of
from recsys_mtl.features.block import STANDARD, FeatureBlock
from recsys_mtl.features.categorical import CategoricalFeature
from recsys_mtl.features.categorical_list import CategoricalListFeature
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.lists import ListLengthFeature
from recsys_mtl.features.numeric import NumericFeature
from recsys_mtl.features.sequence import SequenceFeature
from recsys_mtl.features.sequence_attributes import SequenceIdsFeature, SequenceNumbersFeature
from recsys_mtl.features.table import share_coders

KINDS: dict[str, type[Feature]] = {}
"""Features by kind, in the order of a batch."""


def register(section: type[FeatureConfig], feature: type[Feature]) -> None:
    """Adds a kind: a config may name it, and its fitted features can be stored and loaded.

    Args:
        section: its section of the config.
        feature: its class.

    Raises:
        ValueError: another kind has its name, or the section has another one.
    """
    if tags(section) != (feature.kind,):
        raise ValueError(f"kind: expected '{feature.kind}' in {section.__name__}")
    FeatureConfig.register(section)
    KINDS[feature.kind] = feature


def unregister(section: type[FeatureConfig], feature: type[Feature]) -> None:
    """Removes a kind, for tests."""
    FeatureConfig.unregister(section)
    del KINDS[feature.kind]


register(NumericConfig, NumericFeature)
for part in (ListLengthFeature, SequenceIdsFeature, SequenceNumbersFeature):
    KINDS[part.kind] = part  # they come with lists and sequences; no config names them
register(CategoricalConfig, CategoricalFeature)
register(CategoricalListConfig, CategoricalListFeature)
register(SequenceConfig, SequenceFeature)


def features_of(sections: Mapping[str, FeatureConfig], default_dim: int = 1) -> list[Feature]:
    """The unfitted features of a config; those of one table share its coder.

    Args:
        sections: by name; parts of features follow them.
        default_dim: embedding width of those that name none.
    """
    made: dict[str, Feature] = {}
    every = sections_of(sections)
    for name, section in every.items():
        kind = KINDS[section.feature_kind]
        made[name] = kind.of(section.column or name, section, default_dim=default_dim)
        made[name].name = name
    features = [
        each
        for name in sections
        for each in (made[name], *made[name].companions(every[name], every, made))
    ]
    share_coders(features)
    return features


def csv_columns(features: Iterable[Feature]) -> tuple[set[str], set[str]]:
    """Columns that a CSV file's values are read as text from, and as numbers.

    In both: text with decimal points. What one feature reads as a number and another as text is a
    number, unless a word may mean missing in it.
    """
    text, numbers, words = set[str](), set[str](), set[str]()
    for feature in features:
        text |= {feature.column} if "text" in feature.csv_types else set()
        numbers |= {feature.column} if "numbers" in feature.csv_types else set()
        words |= {feature.column} if len(feature.csv_types) > 1 else set()
    return text - numbers | words, numbers


def in_order(features: Iterable[Feature]) -> list[Feature]:
    """Features in the order in which a batch holds them: kind by kind."""
    kinds = list(KINDS)
    return sorted(features, key=lambda feature: kinds.index(feature.kind))


def blocks_of(encoded: Iterable[tuple[str, str, Any]], rows: int) -> dict[str, FeatureBlock]:
    """The blocks of a batch.

    Args:
        encoded: (feature, kind, encoded values), in the order of `in_order`.
        rows: B.
    """
    parts: dict[type[FeatureBlock], dict[str, Any]] = {block: {} for block in STANDARD}
    for name, kind, part in encoded:
        parts.setdefault(KINDS[kind].block, {})[name] = part
    return {block.layout: block.of(of_block, rows) for block, of_block in parts.items()}


def input_modules(features: Sequence[FeatureSpec]) -> nn.ModuleDict:
    """The input module of each kind that has more than pooled embeddings."""
    modules = {
        kind: KINDS[kind].inputs([f for f in features if f.kind == kind])
        for kind in dict.fromkeys(feature.kind for feature in features)
    }
    return nn.ModuleDict({kind: m for kind, m in modules.items() if m is not None})


def tables_by_block(features: Sequence[FeatureSpec]) -> list[tuple[str, tuple[str, ...]]]:
    """(layout of a block, tables whose rows it holds), in the order of `DataSpec.reads`."""
    tables = [(KINDS[f.kind].block.layout, table.name) for f in features for table in f.tables]
    return [
        (layout, tuple(name for _, name in of_block))
        for layout, of_block in groupby(tables, key=lambda table: table[0])
    ]
