"""New kinds need no change of the package: docs/architecture.md's table "to add a …"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.config import load_config
from recsys_mtl.errors import UserError
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle
from tests import extensions

ROOT = Path(__file__).parents[1]


@pytest.fixture
def _registered() -> Iterator[None]:
    with extensions.registered():
        yield


@pytest.fixture
def document(toy: Any) -> dict[str, Any]:
    """A config, and rows of it, with the new kinds."""
    rng = np.random.default_rng(3)
    rows = toy.rows()
    vectors = rng.normal(size=(len(rows), 3))
    share = 1 / (1 + np.exp(-vectors[:, 0]))
    rows.with_columns(taste=pl.Series(vectors.tolist()), watched=pl.Series(share)).write_parquet(
        toy.data
    )
    document: dict[str, Any] = toy.document()
    document["features"]["taste"] = {"kind": "profile", "size": 3}
    document["tasks"]["watched"] = {"kind": "share"}
    document["tasks"]["spend"]["loss"] = "absolute"
    document["balancing"] = {"name": "powers", "exponent": 1.5}
    document["combiner"] = {"name": "first"}
    document["model"]["architecture"] = {"name": "linear", "width": 3}
    document["training"]["early_stopping"] = {"metric": "watched/closeness"}
    return document


@pytest.mark.usefixtures("_registered")
def test_a_run_with_kinds_of_its_own(toy: Any, document: dict[str, Any]) -> None:
    result = train(load_config(toy.write(document)), toy.run)
    assert 0.7 < result["tasks"]["watched"]["metrics"]["closeness"]["value"] <= 1
    assert result["tasks"]["watched"]["metrics"].keys() == {"closeness"}
    scores = [epoch["score"] for epoch in result["training"]["epochs"]]
    assert result["training"]["best_score"] == max(scores)
    predicted = load_bundle(toy.run / "model").predict(toy.rows())
    assert predicted["watched"].is_between(0, 1).all()


def test_they_are_unknown_without_their_registration(toy: Any, document: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        load_config(toy.write(document))
    problems = [str(problem) for problem in caught.value.problems]
    for where in (
        *("features.taste.kind", "tasks.watched.kind", "tasks.spend.loss"),
        *("balancing.name", "combiner.name", "model.architecture.name"),
    ):
        assert any(where in problem for problem in problems), problems


def test_the_table_names_files_that_exist() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    table = page[page.index("## To add a …") :]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    adds = {row[1].strip() for row in rows}
    assert {"kind of task", "kind of feature", "metric", "loss", "combiner", "balancing"} <= adds
    assert "architecture" in adds
    for row in rows:
        for path in re.findall(r"`([\w./]+(?:\.py|\.md|/))`", row[2]):
            assert (ROOT / path).exists(), path
