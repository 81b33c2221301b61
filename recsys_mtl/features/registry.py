"""The kinds of features by name; `register` adds one."""

from __future__ import annotations

from recsys_mtl.config.features import (
    CategoricalConfig,
    CategoricalListConfig,
    FeatureConfig,
    NumericConfig,
)
from recsys_mtl.features.categorical import CategoricalFeature
from recsys_mtl.features.categorical_list import CategoricalListFeature
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.numeric import NumericFeature

KINDS: dict[str, type[Feature]] = {}
"""Feature by kind, in the order in which features of several kinds stand in a batch."""


def register(section: type[FeatureConfig], feature: type[Feature]) -> None:
    """Adds a kind: a config may name it, and what was fitted with it can be stored and loaded.

    Args:
        section: its section of the config.
        feature: all else about it.

    Raises:
        ValueError: another kind has its name.
    """
    FeatureConfig.register(section)
    KINDS[feature.kind] = feature


def unregister(section: type[FeatureConfig], feature: type[Feature]) -> None:
    """Takes a kind out again, which tests do."""
    FeatureConfig.unregister(section)
    del KINDS[feature.kind]


register(NumericConfig, NumericFeature)
register(CategoricalConfig, CategoricalFeature)
register(CategoricalListConfig, CategoricalListFeature)
