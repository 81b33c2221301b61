"""Contradictions of features that are lists with the other features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import FeatureConfig, ListConfigBase
from recsys_mtl.errors import did_you_mean


def length_of(name: str) -> str:
    """The name of the feature that holds the length of another feature's lists."""
    return f"{name}.length"


def list_contradictions(features: Mapping[str, FeatureConfig]) -> Iterator[Finding]:
    """A share of what is no list, and a name that the length of a list has."""
    lists = [name for name, f in features.items() if isinstance(f, ListConfigBase)]
    for name in lists:
        section = features[name]
        assert isinstance(section, ListConfigBase)
        parent, path = section.share_of, ("features", name, "share_of")
        if parent == name:
            yield Finding(path, "a list is all of itself", fix="name another list, or leave it out")
        elif parent is not None and parent not in lists:
            fix = did_you_mean(parent, [n for n in lists if n != name])
            yield Finding(path, "no list of this config", "a list's name", show(parent), fix)
        if length_of(name) in features and (section.length or parent is not None):
            what = f"the length of '{name}' has this name"
            yield Finding(("features", length_of(name)), what, fix="rename it, and name its column")
