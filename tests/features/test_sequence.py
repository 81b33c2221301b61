from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import TypeAdapter

from recsys_mtl.columns.sequences import Attribute, SequenceSpec
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.lists import list_contradictions
from recsys_mtl.config.tables import table_contradictions
from recsys_mtl.config.yaml_text import dotted
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from recsys_mtl.features.registry import KINDS
from recsys_mtl.serving.export_check import made_up_rows
from tests.encoded import tensors

FRAME = pl.DataFrame(
    {
        "video": ["a", "b", "c", "a"],
        "author": ["x", "y", "y", "z"],
        "watched": [["a", "b", "c", "a"], [], ["b", None], None],
        "authors": [["x", "y", "y", "x"], [], ["y", "new"], None],
        "days": [[9.0, 3.0, None, 1.0], [], [2.0, 0.0], None],
        "text": ["9|3|2|1", "", "2|0", None],
    }
)
FEATURES: dict[str, Any] = {
    "video": {"kind": "categorical"},
    "author": {"kind": "categorical", "dim": 8},
    "watched": {
        "kind": "sequence",
        "table": "video",
        "target": "video",
        "encoder": {"name": "din", "hidden": [5]},
        "max_length": 3,
        "attributes": {
            "authors": {"kind": "categorical", "table": "author", "target": "author"},
            "days": {"kind": "numeric"},
        },
    },
}


def sections(**changes: Any) -> dict[str, FeatureConfig]:
    merged = {n: FEATURES.get(n, {}) | changes.get(n, {}) for n in {**FEATURES, **changes}}
    return TypeAdapter(dict[str, FeatureConfig]).validate_python(merged)


def fitted(features: dict[str, FeatureConfig] | None = None) -> Preprocessor:
    return Preprocessor.fit([FRAME], features or sections(), {}, weight=None, default_dim=4)


def test_the_newest_entries_are_kept_with_their_attributes() -> None:
    made = fitted()
    batch = made.encode(FRAME, labels=False)
    video, author = made.features[0], made.features[1]
    a, b, c = (video.coder.codes(pl.Series([v]))[0] for v in "abc")
    x, y = (author.coder.codes(pl.Series([v]))[0] for v in "xy")
    ids, lengths = batch["watched"]
    assert (ids.tolist(), lengths.tolist()) == ([b, c, a, b, 1], [3, 0, 2, 0])
    assert batch["watched.authors"][0].tolist() == [
        y,
        y,
        x,
        y,
        author.coder.codes(pl.Series(["new"]))[0],
    ]
    logs = [math.log1p(n) for n in (3, 1, 2, 0)]
    mean = sum(logs) / 4
    sd = math.sqrt(sum((n - mean) ** 2 for n in logs) / 4)
    days = [(math.log1p(n) - mean) / sd if n is not None else 0 for n in (3, None, 1, 2, 0)]
    assert batch["watched.days"][0].tolist() == pytest.approx(days, abs=1e-6)
    assert batch["watched.days"][1].tolist() == [3, 0, 2, 0]
    (spec,) = [f for f in made.spec.features if isinstance(f, SequenceSpec)]
    assert (spec.target, spec.max_length) == ("video", 3)
    assert (spec.ids, spec.numbers) == (
        (Attribute("watched.authors", "author"),),
        ("watched.days",),
    )
    reads = {read.name: (read.key, read.dim, read.pooling) for read in made.spec.reads}
    assert reads["watched"] == ("video", 4, "none")
    assert reads["watched.authors"] == ("author", 8, "none")


def test_the_newest_may_come_first() -> None:
    made = fitted(sections(watched={"newest": "first", "attributes": {}}))
    a, b, c = (made.features[0].coder.codes(pl.Series([v]))[0] for v in "abc")
    ids, _ = made.encode(FRAME, labels=False)["watched"]
    assert ids.tolist() == [c, b, a, 1, b]


def test_attributes_may_be_text_with_the_separator_of_the_sequence() -> None:
    text = FRAME.with_columns(watched=pl.Series(["a|b|c|a", "", "b|b", None]))
    attributes = {"text": {"kind": "numeric", "transform": "none"}}
    features = sections(watched={"separator": "|", "attributes": attributes})
    made = Preprocessor.fit([text], features, {}, weight=None, default_dim=4)
    assert made.encode(text, labels=False)["watched.text"][0].tolist() == [3, 2, 1, 2, 0]
    odd = text.with_columns(text=pl.Series(["3|2,5|1|2", "", "NA|1", None]))
    with pytest.raises(UserError, match=r"'text' \(values of its lists\): not a number; .* '2,5'"):
        made.encode(odd, labels=False)


def test_it_is_stored_and_restored_exactly() -> None:
    made = fitted()
    restored = Preprocessor.from_dict(json.loads(json.dumps(made.to_dict())))
    assert restored == made
    assert restored.spec == made.spec
    both = [tensors(p.encode(FRAME, labels=False)) for p in (made, restored)]
    torch.testing.assert_close(*both, rtol=0, atol=0)


def test_rows_are_selected_and_made_up_with_equal_lengths() -> None:
    made = fitted()
    batch = made.encode(FRAME, labels=False).select(torch.tensor([2, 0]))
    again = made.encode(FRAME[[2, 0]], labels=False)
    torch.testing.assert_close(tensors(batch), tensors(again), rtol=0, atol=0)
    rows = made_up_rows(made.spec, 7)
    for name in ("watched.authors", "watched.days"):
        assert torch.equal(rows[name][1], rows["watched"][1])
    for feature in made.spec.features:
        for column in KINDS[feature.kind].tree_columns(feature, batch[feature.name]):
            assert len(column[0]) in (2, 5)
    (mean,) = KINDS["sequence_numbers"].tree_columns(made.spec.features[-1], batch["watched.days"])
    assert mean.values[1] == pytest.approx(float(np.mean(batch["watched.days"][0][-3:].numpy())))


def test_lists_of_other_lengths_are_refused() -> None:
    wrong = FRAME.with_columns(days=pl.Series([[9.0, 3.0, 1.0, 1.0], [], [2.0, 0.0, 1.0], None]))
    expected = "a list of another length; expected 2 entries, as in .* 'watched'; found 3 in row 2"
    with pytest.raises(UserError, match=expected):
        Preprocessor.fit([wrong], sections(), {}, weight=None, default_dim=4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"watched": {"target": None}}, "features.watched.target: din compares with a candidate"),
        ({"watched": {"target": "vide"}}, "features.watched.target: no categorical feature"),
        ({"watched": {"target": "watched"}}, "features.watched.target: no categorical feature"),
        ({"watched": {"target": "author"}}, "features.watched.target: 'author' has another table"),
        (
            {"watched": {"encoder": "mean", "attributes": {}}},
            "features.watched.target: target has no effect on mean",
        ),
        (
            {"watched": {"attributes": {"authors": {"kind": "categorical", "target": "author"}}}},
            "features.watched.attributes.authors.target: 'author' has another table",
        ),
        (
            {"watched.days": {"kind": "numeric"}},
            "features.watched.days: a part of a list has this name",
        ),
        (
            {"watched": {"attributes": {"length": {"kind": "numeric"}}}},
            "features.watched.length: a part of a list has this name",
        ),
        (
            {"watched": {"dim": 4}, "video": {"dim": 8}},
            "features.watched.dim: another dim of table 'video'",
        ),
    ],
)
def test_contradictions(changes: dict[str, Any], expected: str | None) -> None:
    features = sections(**changes)
    findings = [*list_contradictions(features), *table_contradictions(features)]
    assert [f"{dotted(f.path)}: {f.what}" for f in findings] == ([expected] if expected else [])
