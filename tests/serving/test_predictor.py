from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from polars.testing import assert_frame_equal
from scipy.special import expit

from recsys_mtl.config.load import config_from_yaml, dump_config
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from recsys_mtl.model.embeddings_backend import _torchrec_obstacle as torchrec_obstacle
from recsys_mtl.serving.predictor import Predictor, check_output_columns
from recsys_mtl.wiring.network import build_network

OUTPUT = {
    "click": pl.Float64(),
    "plan": pl.String(),
    "plan_probability_basic": pl.Float64(),
    "plan_probability_free": pl.Float64(),
    "plan_probability_pro 2": pl.Float64(),
    "spend": pl.Float64(),
    "next": pl.List(pl.String()),
    "next_scores": pl.List(pl.Float64()),
}


def test_columns_of_all_kinds(trained: Any) -> None:
    predicted = trained.predictor.predict(trained.rows)
    assert dict(predicted.schema) == OUTPUT == trained.predictor.output_schema()
    assert predicted.height == 300
    assert predicted.null_count().row(0) == (0,) * 8
    assert predicted["click"].is_between(0, 1).all()
    probabilities = predicted.select(pl.col("^plan_probability_.*$")).to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    names = np.array(["basic", "free", "pro 2"])
    assert predicted["plan"].to_list() == names[probabilities.argmax(axis=1)].tolist()


def test_rows_of_python_values(trained: Any) -> None:
    frame = trained.rows.head(7).select(trained.predictor.columns)
    expected = trained.predictor.predict(frame)
    predicted = trained.predictor.predict_rows(frame.to_dicts())
    assert_frame_equal(pl.DataFrame(predicted, schema=OUTPUT), expected, abs_tol=1e-6)
    assert trained.predictor.predict_rows([]) == []
    with pytest.raises(UserError, match="missing column"):
        trained.predictor.predict_rows([{"tags": ["a"]}])


def test_values_are_the_network_s(trained: Any) -> None:
    batch = trained.preprocessor.encode(trained.rows, labels=False)
    outputs = {
        task: values.numpy() for task, values in trained.predictor.raw_outputs(batch).items()
    }
    predicted = trained.predictor.predict(trained.rows)
    shapes = {task: values.shape for task, values in outputs.items()}
    assert shapes == {
        "click": (300, 1),
        "plan": (300, 3),
        "spend": (300, 1),
        "next": (300, 7),
    }  # 7: dim
    np.testing.assert_allclose(predicted["click"], expit(outputs["click"][:, 0]), atol=1e-6)
    label = trained.preprocessor.labels["spend"]
    value = np.expm1(outputs["spend"][:, 0].astype(np.float64) * label.sd + label.mean)
    np.testing.assert_allclose(predicted["spend"], value, rtol=1e-6)


@pytest.mark.parametrize("at_once", [1, 50, 8_000_000])
def test_retrieval_finds_the_best_known_items(
    trained: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_mtl.tasks.retrieval._SCORES_AT_ONCE", at_once)
    predicted = trained.predictor.predict(trained.rows)
    queries = trained.predictor.raw_outputs(trained.preprocessor.encode(trained.rows, labels=False))
    scores = trained.network.scores("next", queries["next"]).detach().numpy()
    items = trained.preprocessor.labels["next"].items
    for row in range(20):
        best = sorted(range(1, 7), key=lambda item: -scores[row, item])[:3]
        assert predicted["next"][row].to_list() == [items[item - 1] for item in best]
        np.testing.assert_allclose(predicted["next_scores"][row], scores[row, best], atol=1e-6)


@pytest.mark.parametrize("batch_rows", [1, 7, 299, 4096])
def test_batches_change_nothing(trained: Any, batch_rows: int) -> None:
    rows = trained.rows.head(30)
    whole = trained.predictor.predict(rows)
    assert_frame_equal(trained.predictor.predict(rows, batch_rows), whole, abs_tol=1e-6)


def test_no_rows(trained: Any) -> None:
    predicted = trained.predictor.predict(trained.rows.head(0))
    assert dict(predicted.schema) == OUTPUT
    assert predicted.height == 0


def test_labels_are_not_needed_and_not_used(trained: Any) -> None:
    predictor = trained.predictor
    assert predictor.columns == list(predictor.schema())
    assert set(predictor.columns).isdisjoint({"click", "plan", "spend", "next"})
    assert_frame_equal(
        predictor.predict(trained.rows.select(predictor.columns)), predictor.predict(trained.rows)
    )


def test_the_schema_gives_the_types_of_columns(trained: Any) -> None:
    assert trained.predictor.schema() == {
        "city": pl.String(),
        "customer": pl.String(),
        "member": pl.String(),
        "visited": pl.List(pl.String()),
        "bought": pl.List(pl.String()),
        "tags": pl.List(pl.String()),
        "age": pl.Float64(),
        "history": pl.Float64(),
    }


def test_missing_column_is_named(trained: Any) -> None:
    with pytest.raises(UserError, match=r"missing column.*|'age'"):
        trained.predictor.predict(trained.rows.drop("age"))


def test_a_large_catalogue_is_scored_in_parts(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heights = []
    usual = torch.Tensor.topk

    def watched(self: torch.Tensor, k: int) -> Any:
        heights.append(self.shape)
        return usual(self, k)

    monkeypatch.setattr(torch.Tensor, "topk", watched)
    monkeypatch.setattr("recsys_mtl.tasks.retrieval._SCORES_AT_ONCE", 6 * 128)
    trained.predictor.predict(trained.rows)
    assert heights == [(128, 6), (128, 6), (44, 6)]


@pytest.mark.skipif(torchrec_obstacle(()) != "", reason="torchrec does not import")
def test_fused_tables_predict_the_same(trained: Any) -> None:
    document = yaml.safe_load(dump_config(trained.config))
    for feature in ("customer", "bought"):
        document["features"][feature]["dim"] = 4  # fused tables are so wide, or a multiple
    predictors = []
    for backend in ("plain", "torchrec"):
        document["model"]["embedding"]["backend"] = backend
        config = config_from_yaml(yaml.safe_dump(document), where="fused.yaml")
        fitted = Preprocessor.fit(
            [trained.rows], config.features, config.tasks, weight=None, default_dim=4
        )
        network = build_network(config, fitted.spec)
        predictors.append(Predictor(config, fitted, network))
    plain, fused = predictors
    fused.network.load_state_dict(plain.network.state_dict())
    assert_frame_equal(fused.predict(trained.rows), plain.predict(trained.rows), abs_tol=1e-5)


@pytest.mark.parametrize(
    ("other", "column"),
    [
        ("band_probability_low: {kind: binary, label: click}", "band_probability_low"),
        ("next_scores: {kind: regression, label: spend}", "next_scores"),
    ],
)
def test_two_tasks_of_one_output_column_are_named(trained: Any, other: str, column: str) -> None:
    text = f"""
name: clash
data: {{path: rows.parquet}}
features: {{age: {{kind: numeric}}}}
tasks:
  {other}
  band: {{kind: multiclass, label: plan}}
  next: {{kind: retrieval}}
"""
    rows = trained.rows.with_columns(pl.col("plan").replace("free", "low"))
    config = config_from_yaml(text, where="clash.yaml")
    fitted = Preprocessor.fit([rows], config.features, config.tasks, weight=None, default_dim=4)
    second = "band" if column.startswith("band") else "next"
    with pytest.raises(
        UserError, match=f"tasks.{column} and tasks.{second}: both predict a column '{column}'"
    ):
        check_output_columns(fitted)


def test_columns_of_their_own_are_no_error(trained: Any) -> None:
    check_output_columns(trained.preprocessor)
    assert len(trained.predictor.output_schema()) == 8


def test_dropout_is_off(trained: Any) -> None:
    first = trained.predictor.predict(trained.rows)
    assert_frame_equal(trained.predictor.predict(trained.rows), first, check_exact=True)


def test_spread_is_how_far_the_members_differ(trained: Any) -> None:
    model = trained.config.model.model_copy(update={"members": 3})
    config = trained.config.model_copy(update={"model": model})
    torch.manual_seed(6)
    network = build_network(config, trained.preprocessor.spec)
    predictor = Predictor(config, trained.preprocessor, network)
    plain = predictor.predict(trained.rows)
    predictor.show_spread()
    shown = predictor.predict(trained.rows, batch_rows=70)
    numbers = [name for name, dtype in OUTPUT.items() if dtype == pl.Float64()]
    assert shown.columns == [*OUTPUT, *(f"{name}_spread" for name in numbers)]
    assert dict(shown.schema) == predictor.output_schema()
    assert_frame_equal(shown.select(plain.columns), plain, abs_tol=1e-6)
    encoded = trained.preprocessor.encode(trained.rows, labels=False)
    with torch.no_grad():
        clicks = network(encoded).members["click"][..., 0].sigmoid()
    np.testing.assert_allclose(shown["click_spread"], clicks.std(0, correction=0), rtol=1e-4)
    np.testing.assert_allclose(shown["click"], clicks.mean(0), rtol=1e-5)
    assert (shown["spend_spread"] > 0).all()


def test_one_member_has_no_spread(trained: Any) -> None:
    with pytest.raises(UserError, match="spread of one member"):
        trained.predictor.show_spread()
