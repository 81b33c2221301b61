from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter

from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.lists import list_contradictions
from recsys_mtl.config.yaml_text import dotted
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from recsys_mtl.features.categorical_list import CategoricalListFeature
from recsys_mtl.features.lists import ListLengthFeature
from recsys_mtl.features.registry import features_of

SHORT = {"kind": "categorical_list", "max_length": 2}
FRAME = pl.DataFrame(
    {
        "seen": [["a", "b", "a"], [], None, ["c"], ["a"] * 7],
        "liked": ["a|b", None, "", "c", "a|a|a"],
    }
)


def sections(**features: dict[str, Any]) -> dict[str, FeatureConfig]:
    return TypeAdapter(dict[str, FeatureConfig]).validate_python(features)


LIKED = SHORT | {"separator": "|", "share_of": "seen"}
BOTH = sections(seen=SHORT, liked=LIKED)


def fitted(features: dict[str, FeatureConfig]) -> Preprocessor:
    return Preprocessor.fit([FRAME], features, {}, weight=None, default_dim=4)


def standardised(numbers: list[float]) -> list[float]:
    mean = sum(numbers) / len(numbers)
    sd = math.sqrt(sum((n - mean) ** 2 for n in numbers) / len(numbers))
    return [pytest.approx((n - mean) / sd, abs=1e-6) for n in numbers]


def test_a_list_brings_its_whole_length_and_its_share() -> None:
    made = fitted(BOTH)
    assert [f.name for f in made.features] == ["seen", "seen.length", "liked", "liked.length"]
    batch = made.encode(FRAME, labels=False)
    seen, liked = [3, 0, 0, 1, 7], [2, 0, 0, 1, 3]
    assert batch["seen.length"][:, 0].tolist() == standardised([math.log1p(n) for n in seen])
    length, share = batch["liked.length"].T.tolist()
    assert length == standardised([math.log1p(n) for n in liked])
    shares = [n / of if of else 0.0 for n, of in zip(liked, seen, strict=True)]
    assert share == standardised(shares)
    assert batch["seen"][1].tolist() == [2, 0, 0, 1, 2]
    for feature, width in (("seen.length", 0), ("liked.length", 1)):
        spec = next(f for f in made.spec.features if f.name == feature)
        assert len(ListLengthFeature.tree_columns(spec, batch[feature])) == width
    stored = json.loads(json.dumps(made.to_dict()))
    assert Preprocessor.from_dict(stored) == made


def test_without_its_length_a_list_is_as_it_was() -> None:
    plain = sections(seen=SHORT | {"length": False})
    assert [type(f) for f in features_of(plain)] == [CategoricalListFeature]
    only_share = features_of(sections(seen=SHORT, liked=LIKED | {"length": False}))
    assert only_share[-1].width == 1


def test_a_constant_length_is_zero() -> None:
    frame = pl.DataFrame({"seen": [["a"], ["b"]]})
    made = Preprocessor.fit([frame], sections(seen=SHORT), {}, weight=None, default_dim=4)
    assert made.encode(frame, labels=False)["seen.length"].tolist() == [[0.0], [0.0]]


def test_a_wrong_column_is_reported_once() -> None:
    with pytest.raises(UserError, match="column 'seen': no lists") as caught:
        Preprocessor.fit([FRAME.with_columns(seen=pl.lit(1))], BOTH, {}, weight=None, default_dim=4)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"liked": {"share_of": "liked"}}, "features.liked.share_of: a list is all of itself"),
        ({"liked": {"share_of": "sen"}}, "features.liked.share_of: no list of this config"),
        ({"liked": {"share_of": "city"}}, "features.liked.share_of: no list of this config"),
        (
            {"seen.length": {"kind": "numeric"}},
            "features.seen.length: a part of a list has this name",
        ),
    ],
)
def test_contradictions(features: dict[str, Any], expected: str) -> None:
    base: dict[str, Any] = {"seen": SHORT, "liked": SHORT, "city": {"kind": "categorical"}}
    merged = base | {name: base.get(name, {}) | change for name, change in features.items()}
    (finding,) = list_contradictions(sections(**merged))
    assert f"{dotted(finding.path)}: {finding.what}" == expected
    assert not list(list_contradictions(sections(**base)))
