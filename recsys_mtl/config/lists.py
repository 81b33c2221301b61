"""Contradictions of features that are lists or sequences with the other features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import (
    CategoryConfigBase,
    EntriesConfigBase,
    FeatureConfig,
    ListConfigBase,
)
from recsys_mtl.config.sequences import SequenceEncoderConfig
from recsys_mtl.config.tables import table_of, with_parts
from recsys_mtl.config.yaml_text import KeyPath
from recsys_mtl.errors import did_you_mean


def length_of(name: str) -> str:
    """The name of the feature that holds the length of another feature's lists."""
    return f"{name}.length"


def list_contradictions(features: Mapping[str, FeatureConfig]) -> Iterator[Finding]:
    """A share of what is no list, a wrong candidate, and names that parts of features have."""
    lists = {name: f for name, f in features.items() if isinstance(f, ListConfigBase)}
    derived = [name for name, at, _ in with_parts(features) if len(at) > 2]
    for name, section in lists.items():
        parent = section.share_of
        path: KeyPath = ("features", name, "share_of")
        if parent == name:
            yield Finding(path, "a list is all of itself", fix="name another list, or leave it out")
        elif parent is not None and parent not in lists:
            fix = did_you_mean(parent, [n for n in lists if n != name])
            yield Finding(path, "no list of this config", "a list's name", show(parent), fix)
        if section.length or parent is not None:
            derived.append(length_of(name))
    for name in sorted(set(derived)):
        if name in features or derived.count(name) > 1:
            what = "a part of a list has this name"
            yield Finding(("features", name), what, fix="rename it, and name its column")
    for name, path, entries in with_parts(features):
        if isinstance(entries, EntriesConfigBase):
            yield from _encoded(path, entries, vars(features[str(path[1])])["encoder"])
            yield from _target(name, path, entries, features)


def _encoded(
    path: KeyPath, section: EntriesConfigBase, encoder: SequenceEncoderConfig
) -> Iterator[Finding]:
    """A candidate that the encoder lacks, or does not look at."""
    if encoder.needs_target and section.target is None and len(path) == 2:
        what = f"{encoder.name} compares with a candidate"
        yield Finding((*path, "target"), what, "a categorical feature", "none")
    if not encoder.takes_target and section.target is not None:
        what = f"target has no effect on {encoder.name}"
        yield Finding((*path, "target"), what, fix="leave it out, or use encoder: din")


def _target(
    name: str, path: KeyPath, section: EntriesConfigBase, features: Mapping[str, FeatureConfig]
) -> Iterator[Finding]:
    """A candidate that is none, or that has another table."""
    target = section.target
    if target is None:
        return
    lists = (ListConfigBase, EntriesConfigBase)
    singles = {
        n: f
        for n, f in features.items()
        if isinstance(f, CategoryConfigBase) and not isinstance(f, lists)
    }
    if target not in singles:
        fix = did_you_mean(target, [*singles])
        yield Finding((*path, "target"), "no categorical feature", found=show(target), fix=fix)
        return
    own, other = table_of(name, section), table_of(target, singles[target])
    if own != other:
        what, fix = f"'{target}' has another table", f"table: {other}"
        yield Finding((*path, "target"), what, f"table '{own}'", f"table '{other}'", fix)
