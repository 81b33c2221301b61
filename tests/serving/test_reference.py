from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.serving import load_bundle, save_bundle
from recsys_mtl.serving.bundle import load_reference
from recsys_mtl.serving.reference import Reference, count_inputs


@pytest.fixture(scope="module")
def reference(trained: Any) -> Reference:
    inputs = count_inputs(trained.preprocessor, trained.rows)
    predictions = trained.predictor.predict(trained.rows.head(120))
    return Reference.of(inputs, trained.predictor, predictions, "valid")


def count(reference: Reference, trained: Any, rows: Any) -> dict[Any, Any]:
    batch = trained.preprocessor.encode(rows, labels=False)
    return reference.count(trained.predictor, rows, batch, trained.predictor.predict(rows))


def test_every_feature_and_score_is_counted(reference: Reference, trained: Any) -> None:
    names = {part: [n for p, n in reference.expected if p == part] for part in ("length", "score")}
    features = [name for part, name in reference.expected if part == "feature"]
    assert features == [*trained.config.features]
    assert names == {
        "length": ["visited", "bought", "tags"],
        "score": ["click", "plan", "spend", "next"],
    }
    totals = {key: e.counts.sum() for key, e in reference.expected.items()}
    assert totals["feature", "age"] == totals["feature", "city"] == 300
    assert totals["length", "bought"] == 300
    assert totals["score", "next"] == totals["score", "plan"] == 120


def test_counts_are_those_of_the_column(reference: Reference, trained: Any) -> None:
    expected = reference.expected["feature", "city"]
    counts = dict(zip(expected.bins.cells, expected.counts, strict=True))
    cities = trained.rows["city"]
    assert counts["null"] == cities.null_count()
    assert counts["Bern"] == (cities == "Bern").sum()
    age = reference.expected["feature", "age"]
    assert age.counts[-1] == trained.rows["age"].null_count()


def test_the_same_rows_have_the_same_counts(reference: Reference, trained: Any) -> None:
    counts = count(reference, trained, trained.rows)
    for key, expected in reference.expected.items():
        if key[0] != "score":
            assert counts[key].tolist() == expected.counts.tolist(), key
    parts = [count(reference, trained, rows) for rows in trained.rows.iter_slices(77)]
    for key, whole in counts.items():
        if key[0] != "score":
            assert np.sum([p[key] for p in parts], axis=0).tolist() == whole.tolist()


def test_the_bundle_keeps_it(reference: Reference, trained: Any, tmp_path: Path) -> None:
    state = trained.network.state_dict()
    parts = trained.config, trained.preprocessor, state
    save_bundle(tmp_path / "m", *parts, reference=reference)
    loaded = load_reference(tmp_path / "m")
    assert loaded is not None
    assert loaded.to_dict() == reference.to_dict()
    assert "reference.json" in json.loads((tmp_path / "m" / "manifest.json").read_text())["files"]
    (tmp_path / "m" / "reference.json").write_text("{}")
    with pytest.raises(UserError, match=r"reference\.json: file of the model was changed"):
        load_bundle(tmp_path / "m")


def test_an_older_bundle_has_none(bundle: Path, tmp_path: Path) -> None:
    assert load_reference(bundle) is None
    older = Path(shutil.copytree(bundle, tmp_path / "older"))
    (older / "reference.json").write_text("not listed, so not read")
    assert load_reference(older) is None
    assert load_bundle(older).columns
