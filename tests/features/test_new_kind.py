"""A kind of feature that the tests define goes all the way without a change of the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from recsys_mtl.boosting import default_name
from recsys_mtl.config import Config, config_from_yaml, dump_config
from recsys_mtl.data.leakage import LabelInfo, find_leaks
from recsys_mtl.data.prepare import prepare
from recsys_mtl.errors import UserError
from recsys_mtl.features.registry import KINDS, register
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.runs.compare_baselines import baselines
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle, load_reference
from recsys_mtl.serving.export import save_export
from recsys_mtl.serving.exported import load_export
from recsys_mtl.serving.pandas_rows import to_pandas, to_polars
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.profile_feature import ProfileConfig, ProfileFeature, profiles
from tests.toy import DOCUMENT, Toy

TASTE = {"kind": "profile", "size": 3}
PROJECTED = TASTE | {"project": 2}


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    with profiles():
        yield


@pytest.fixture
def rows(toy: Toy, rng: np.random.Generator) -> pl.DataFrame:
    """The toy's rows with vectors, some of them null."""
    frame = toy.rows()
    taste = [None if i % 9 == 0 else v for i, v in enumerate(rng.normal(size=(500, 3)).tolist())]
    frame = frame.with_columns(taste=pl.Series(taste, dtype=pl.List(pl.Float64)))
    frame.write_parquet(toy.data)
    return frame


def config_of(toy: Toy, vector: dict[str, Any], **sections: Any) -> Config:
    document = toy.document() | sections
    document["features"] = {"taste": vector} | document["features"]
    return Config.model_validate(document)


def step_of(config: Config) -> tuple[TrainingStep, Any]:
    prepared = prepare(config)
    torch.manual_seed(0)
    network = build_network(config, prepared.preprocessor.spec)
    return build_step(config, network, torch.device("cpu")), prepared


@pytest.mark.parametrize("vector", [TASTE, PROJECTED], ids=["as it is", "projected"])
def test_it_is_trained_saved_loaded_and_predicted(
    toy: Toy, rows: pl.DataFrame, vector: dict[str, Any]
) -> None:
    config = config_of(toy, vector, combiner={"name": "cagt"})
    assert config_from_yaml(dump_config(config), where="dumped") == config
    train(config, toy.run)
    predictor = load_bundle(toy.run / "model")
    assert predictor.schema()["taste"] == pl.List(pl.Float64())
    assert "age" in predictor.columns
    named = predictor.network.inputs["profile"].state_dict()
    assert list(named) == (["maps.0.weight", "maps.0.bias"] if "project" in vector else [])
    predicted = predictor.predict(rows)
    assert predicted.height == 500
    other = rows.with_columns(taste=pl.lit([9.0, 9.0, -9.0]))
    assert not predicted["click"].equals(predictor.predict(other)["click"])
    served = to_polars(to_pandas(rows.head(20)), predictor.schema())
    assert_frame_equal(predictor.predict(served), predicted.head(20), abs_tol=1e-6)


def test_drift_is_measured_of_the_kinds_observations(toy: Toy, rows: pl.DataFrame) -> None:
    train(config_of(toy, TASTE), toy.run)
    reference = load_reference(toy.run / "model")
    assert reference is not None
    assert ("length", "taste") in reference.expected
    assert ("feature", "taste") not in reference.expected
    predictor = load_bundle(toy.run / "model")
    batch = predictor.preprocessor.encode(rows, labels=False)
    counts = reference.count(predictor, rows, batch, predictor.predict(rows))
    assert counts["length", "taste"].sum() == 500


def test_a_batch_holds_it_by_name_next_to_the_numbers(toy: Toy, rows: pl.DataFrame) -> None:
    prepared = prepare(config_of(toy, TASTE))
    batch = prepared.preprocessor.encode(rows)
    assert batch["taste"].shape == (500, 3)
    assert batch["taste"][0].tolist() == [0.0, 0.0, 0.0]
    assert batch.blocks["numeric"].names == ("age", "income", "seen.length", "taste")
    spec = prepared.preprocessor.spec
    assert [f.kind for f in spec.features] == [
        "numeric", "numeric", "list_length", "categorical", "categorical_list", "profile",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["cagt", "mgda"])
def test_its_layer_is_shared_by_the_tasks(
    toy: Toy, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Combined like the shared experts, and by the fast way as by one backward pass a task."""
    config = config_of(toy, PROJECTED, combiner={"name": kind, "block": "parameter"})
    results = []
    for separable in (True, False):
        step, prepared = step_of(config)
        assert step.network.tasks_are_separable
        if not separable:
            monkeypatch.setattr(MultiTaskNetwork, "tasks_are_separable", False)
        batch = next(iter(prepared.loaders["train"].epoch(0)))
        assert step(batch).updated
        assert step.combining is not None
        assert "inputs.profile.maps.0.weight" in step.combining.blocks
        results.append(
            {n: p.grad for n, p in step.network.named_parameters() if p.grad is not None}
        )
    fast, slow = results
    assert fast["inputs.profile.maps.0.weight"].any()
    for name, gradient in slow.items():
        torch.testing.assert_close(fast[name], gradient, atol=2e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("adatt", [{"mechanism": "loss"}, {"mechanism": "gradient"}])
def test_adatt_measures_below_it(toy: Toy, rows: pl.DataFrame, adatt: dict[str, Any]) -> None:
    config = config_of(toy, PROJECTED, adatt=adatt | {"measure": {"rows": 16, "interval": 1}})
    step, prepared = step_of(config)
    for epoch in range(3):
        step.start_epoch(epoch)
        for number, batch in enumerate(prepared.loaders["train"].epoch(epoch)):
            assert step(batch, number).updated


@pytest.mark.slow
def test_baselines_and_export(toy: Toy, rows: pl.DataFrame, tmp_path: Path) -> None:
    config = config_of(toy, TASTE)
    names = [name for name, _ in islice(baselines(config, prepare(config)), 2)]
    assert names == ["constant", default_name()]
    train(config, toy.run)
    manifest = save_export(toy.run / "model", tmp_path / "program")
    assert manifest["inputs"][0]["shape"][1] > 3
    pin = sha256((tmp_path / "program/manifest.json").read_bytes()).hexdigest()
    exported = load_export(tmp_path / "program", pin=pin)
    batch = exported.preprocessor.encode(rows, labels=False)
    ours = load_bundle(toy.run / "model").raw_outputs(batch)
    torch.testing.assert_close(exported.run(batch)["click"], ours["click"])


def test_leaks_are_detected_in_it(rng: np.random.Generator) -> None:
    click = rng.integers(0, 2, 400)
    frame = pl.DataFrame({"taste": [[float(c), 0.5] for c in click], "click": click})
    (warning,) = find_leaks(
        frame, {"taste": "profile"}, {"click": LabelInfo("binary", "click")}, 0.9
    )
    assert "feature 'taste' alone almost determines label 'click'" in warning


def test_wrong_columns_are_refused(toy: Toy, rows: pl.DataFrame) -> None:
    rows.with_columns(taste=pl.lit(1.0)).write_parquet(toy.data)
    with pytest.raises(UserError, match="column 'taste': no vectors"):
        prepare(config_of(toy, TASTE))


def test_its_state_is_restored_exactly(rows: pl.DataFrame) -> None:
    feature = ProfileFeature("taste", 3)
    feature.update(rows["taste"], None)
    feature.finish()
    assert ProfileFeature.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature


def test_kinds_have_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="kind: expected 'categorical' in ProfileConfig"):
        register(ProfileConfig, KINDS["categorical"])


def test_an_unknown_kind_is_refused() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["features"]["taste"] = {"kind": "profiles", "size": 3}
    with pytest.raises(UserError, match=r"unknown choice.*did you mean 'profile'"):
        config_from_yaml(json.dumps(document), where="a.yaml")
