from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.sizes import memory_needs
from recsys_mtl.config.tables import sections_of, table_contradictions
from recsys_mtl.config.yaml_text import dotted

VIDEO = {
    "video_id": {"kind": "categorical", "dim": 8},
    "age": {"kind": "numeric"},
    "watched": {"kind": "categorical_list", "table": "video_id", "min_count": 3},
    "liked": {"kind": "categorical_list", "table": "video_id", "min_count": 3, "max_length": 9},
    "author": {"kind": "categorical"},
}


def features(change: dict[str, Any]) -> dict[str, FeatureConfig]:
    merged = {name: section | change.get(name, {}) for name, section in VIDEO.items()}
    return TypeAdapter(dict[str, FeatureConfig]).validate_python(merged)


def test_settings_of_a_table_hold_for_all_its_features() -> None:
    sections = sections_of(features({}))
    assert list(sections) == list(VIDEO)
    for name in ("video_id", "watched", "liked"):
        assert (sections[name].dim, sections[name].min_count) == (8, 3)
    assert (sections["author"].dim, sections["author"].min_count) == (None, 1)
    assert sections["liked"].max_length == 9
    assert sections["watched"].max_length == 50
    assert sections["author"] is not None
    assert not list(table_contradictions(features({})))
    hashed = sections_of(features({"liked": {"encoding": "hash", "buckets": 5}}))
    assert {hashed[n].buckets for n in ("video_id", "watched", "liked")} == {5}


@pytest.mark.parametrize(
    ("change", "path", "expected"),
    [
        ({"liked": {"min_count": 4}}, "features.liked.min_count", "3, as of feature 'watched'"),
        ({"liked": {"dim": 4}}, "features.liked.dim", "8, as of feature 'video_id'"),
        ({"liked": {"dim": "auto"}}, "features.liked.dim", "8, as of feature 'video_id'"),
        (
            {"watched": {"null_values": ["-"]}, "liked": {"null_values": ["?"]}},
            "features.liked.null_values",
            """["-"], as of feature 'watched'""",
        ),
        (
            {"liked": {"encoding": "hash", "buckets": 9}, "watched": {"unknown_dropout": 0.25}},
            "features.watched.unknown_dropout",
            "encoding: vocabulary",
        ),
    ],
)
def test_two_values_for_one_table_are_refused(
    change: dict[str, Any], path: str, expected: str
) -> None:
    (finding,) = table_contradictions(features(change))
    assert (dotted(finding.path), finding.expected) == (path, expected)
    assert "video_id" in finding.what


def test_a_shared_table_counts_once_in_memory(shared_toy: Any) -> None:
    def rows(*overrides: str) -> int:
        config = shared_toy.config("features.city={kind: categorical, dim: 64}", *overrides)
        needs = memory_needs(config, {"city": (50, 64), "seen": (50, 64)})
        return sum(need.weights for need in needs if "50 rows" in need.size)

    assert rows("features.seen={kind: categorical_list, dim: 64}") == 2 * 50 * 64
    assert rows("features.seen={kind: categorical_list, table: city}") == 50 * 64
