"""Row weights count in all that is fitted; a row of weight 0 counts nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter

from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.weight import representative
from recsys_mtl.config import load_config
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.prepare import prepare
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from recsys_mtl.runs.reference import ReferenceSampler
from recsys_mtl.runs.train import train

TRANSFORMS = ("standardize", "log1p", "quantile", "none")
FEATURES = {f"{name}_x": {"kind": "numeric", "transform": name} for name in TRANSFORMS} | {
    "piecewise_x": {"kind": "numeric", "transform": {"name": "piecewise", "bins": 4}},
    "city": {"kind": "categorical", "max_size": 2},
    "seen": {"kind": "categorical_list", "max_size": 3},
}
TASKS = {
    "click": {"kind": "binary"},
    "gone": {"kind": "binary", "positive": "yes"},
    "buy": {"kind": "binary", "only_where": "click == 1", "label": "click_2"},
    "band": {"kind": "multiclass"},
    "grade": {"kind": "multiclass", "classes": ["low", "mid", "high", "top"], "label": "band"},
    "value": {"kind": "regression"},
    "amount": {"kind": "regression", "transform": "log1p", "label": "spend"},
    "raw": {"kind": "regression", "transform": "none", "label": "value"},
    "orders": {"kind": "count"},
    "spend": {"kind": "customer_value"},
    "item": {"kind": "retrieval", "dim": 4, "max_items": 2},
}
WEIGHT = "w"


def rows(count: int = 3000) -> pl.DataFrame:
    """Rows whose weights, 0 to 3, go with features and labels alike."""
    rng = np.random.default_rng(0)
    state = rng.normal(size=count)
    weight = np.clip(np.round(1.2 + state), 0, 3)
    named = np.array(["a", "b", "c", "d"])
    skewed = np.digitize(state + rng.normal(size=count), [-0.7, 0, 0.7])
    numbers = {name: np.exp(state + 0.1 * rng.normal(size=count)) for name in FEATURES}
    return pl.DataFrame(
        numbers
        | {
            WEIGHT: weight,
            "city": named[skewed],
            "seen": [[named[code], *named[:1]] for code in skewed],
            "click": (state + rng.normal(size=count) > 0).astype(int),
            "click_2": (state + rng.normal(size=count) > 0).astype(int),
            "gone": np.where(state + rng.normal(size=count) > 0, "yes", "no"),
            "band": np.array(["low", "mid", "high"])[np.digitize(state, [-0.5, 0.5])],
            "value": 3 * state,
            "orders": rng.poisson(np.exp(state)),
            "spend": np.where(rng.random(count) < 0.5, np.exp(state), 0.0),
            "item": named[skewed],
        }
    )


def fit(frame: pl.DataFrame, weight: str | None = WEIGHT) -> dict[str, Any]:
    """Everything that was fitted but the weight's own name."""
    fitted = Preprocessor.fit(
        [frame],
        TypeAdapter(dict[str, FeatureConfig]).validate_python(FEATURES),
        TypeAdapter(dict[str, TaskConfig]).validate_python(TASKS),
        weight=weight,
        default_dim=4,
    )
    return fitted.to_dict() | {"weight": None}


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """The values by their path."""
    if not isinstance(state, dict | list):
        return {path: state}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    return {k: v for key, value in items for k, v in flat(value, f"{path}/{key}").items()}


def repeated(frame: pl.DataFrame) -> pl.DataFrame:
    """Each row as often as its weight says."""
    return frame[np.repeat(np.arange(frame.height), frame[WEIGHT].cast(int).to_numpy())]


def test_a_row_of_weight_2_is_as_two_rows() -> None:
    frame = rows()
    weighted, expected = flat(fit(frame)), flat(fit(repeated(frame), None))
    assert weighted.keys() == expected.keys()
    for path, value in expected.items():
        between = "/edges" in path or "median" in path  # two values
        unseen = path.startswith("/labels/grade/rates")  # a class has half of a mean row
        rel, absolute = 0.1 if between else 1e-9, 1e-3 if unseen else 1e-9
        if "/frequencies/" in path:  # how often a batch has it
            continue
        near = pytest.approx(value, rel=rel, abs=absolute) if isinstance(value, float) else value
        assert weighted[path] == near, path
    unweighted = flat(fit(frame, None))
    counted = ("rate", "/mean", "/sd", "/prior", "median", "/edges/", "/values/", "/items/")
    for part in counted:
        assert any(unweighted[p] != weighted[p] for p in weighted if part in p), part


@pytest.mark.parametrize("least", [0.0, 1e-60])  # which float32 cannot hold
def test_a_row_of_weight_0_is_as_none(least: float) -> None:
    frame = rows()
    some = frame.filter(pl.col(WEIGHT) > 0)
    frame = frame.with_columns(pl.col(WEIGHT).cast(pl.Float64).replace(0.0, least))
    assert some.height < frame.height
    assert fit(frame) == fit(some)
    wild = pl.DataFrame(
        {name: [1e30] for name in [*FEATURES, "value", "spend"] if name not in ("city", "seen")}
        | {WEIGHT: [0.0], "city": ["new"], "seen": [["new"]], "band": ["no class"], "item": ["new"]}
    )
    assert fit(pl.concat([wild, frame], how="diagonal_relaxed")) == fit(some)


@pytest.mark.parametrize("factor", [0.001, 1.0, 7.0])
def test_only_the_ratio_of_weights_counts(factor: float) -> None:
    frame = rows(500)
    one, other = flat(fit(frame)), flat(fit(frame.with_columns(pl.col(WEIGHT) * factor)))
    assert {k: pytest.approx(v) if isinstance(v, float) else v for k, v in one.items()} == other
    alike = frame.with_columns(pl.lit(factor).alias(WEIGHT))
    one, other = flat(fit(frame, None)), flat(fit(alike))
    assert {k: pytest.approx(v) if isinstance(v, float) else v for k, v in one.items()} == other


def test_lists_that_are_all_empty() -> None:
    empty = pl.Series("seen", [[]] * 50, pl.List(pl.Int64))
    assert fit(rows(50).with_columns(empty))["features"][-2]["coder"]["values"] == []


@pytest.mark.parametrize(
    "weights",
    [["1", "2"], [1.0, None], [0.0, -1.0], [0, 0], [False, False], [1e-60, 1e-60]],
)
def test_wrong_weights_are_the_only_problem(weights: list[Any]) -> None:
    with pytest.raises(UserError, match=r"data\.weight: column 'w'") as caught:
        fit(rows(2).with_columns(pl.Series(WEIGHT, weights)))
    assert any("data.weight" in str(problem) for problem in caught.value.problems)


def test_a_row_of_weight_0_is_unlabelled_whatever_its_label(toy: Any) -> None:
    frame = toy.rows().with_row_index("n")
    out = pl.col("n") % 5 == 0
    frame = frame.with_columns(
        pl.when(out).then(0.0).otherwise("importance").alias("importance"),
        pl.when(out).then(pl.lit("no class")).otherwise("band").alias("band"),
    )
    frame.drop("n").write_parquet(toy.data)
    prepared = prepare(toy.config())
    for loader in prepared.loaders.values():
        batches: list[Batch] = list(loader.epoch(0))
        assert all(batch.labels[batch.weights == 0].isnan().all() for batch in batches)
        assert any((batch.weights == 0).any() for batch in batches)


def test_the_reference_of_drift_has_the_weighted_shares(toy: Any) -> None:
    weight = pl.when(pl.col("city") == "oslo").then(10.0).otherwise(1.0)
    frame = toy.rows().with_columns(importance=weight)
    frame.write_parquet(toy.data)
    taken: dict[str, Any] = {}

    class Taker(ReferenceSampler):
        def take_train(self, preprocessor: Preprocessor, rows: pl.DataFrame) -> None:
            taken["train"] = rows["city"].eq("oslo").fill_null(False).mean()

        def take_valid(self, rows: Batch) -> None:
            taken["valid"] = float((rows["city"] == known).float().mean())
            taken["rows"] = rows.num_rows

    known = 2 + ["oslo", "bern", "rome"].index("oslo")  # first by weight
    prepared = prepare(toy.config(), Taker())
    mass = 10 * 0.3 / (10 * 0.3 + 0.7)
    assert taken["train"] == pytest.approx(mass, abs=0.06)
    assert taken["valid"] == pytest.approx(mass, abs=0.1)
    assert taken["rows"] < prepared.rows["valid"]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([3.0, 3.0, 3.0], [1, 1, 1]),
        ([0.0, 1.0, 0.0, 1.0, 1.0, 0.0], [0, 1, 0, 1, 1, 0]),
        ([0.0, 0.0], [1, 1]),  # there is nothing to choose by
        ([10.0, *[1e-6] * 9], [1, *[0] * 9]),
        ([], []),
    ],
)
def test_representative_rows(weights: list[float], expected: list[int]) -> None:
    drawn = representative(np.array(weights), 0)
    assert np.bincount(drawn, minlength=len(weights)).tolist() == expected


def test_representative_rows_have_the_shares_of_the_weights() -> None:
    weights: Floats = np.repeat([1.0, 10.0], [2000, 1000])
    drawn = representative(weights, 0)
    assert len(drawn) == round(weights.sum() ** 2 / (weights**2).sum())
    assert np.mean(drawn >= 2000) == pytest.approx(10_000 / 12_000, abs=2e-3)


@pytest.mark.slow
def test_sampled_negatives_with_their_weight_give_calibrated_scores(tmp_path: Path) -> None:
    """The untouched test rows have a rate of 4 %, the kept training rows one of 30 %."""
    rng = np.random.default_rng(0)
    count = 20_000
    x = rng.normal(size=count)
    click = rng.random(count) < 1 / (1 + np.exp(3.6 - x))
    frame = pl.DataFrame({"x": x, "click": click, "w": np.where(click, 1.0, 10.0)})
    kept = frame.filter(pl.Series(click | (rng.random(count) < 0.1)))
    kept[: kept.height // 5].write_parquet(tmp_path / "valid.parquet")
    kept[kept.height // 5 :].write_parquet(tmp_path / "train.parquet")
    frame.with_columns(w=1.0).write_parquet(tmp_path / "test.parquet")
    (tmp_path / "run.yaml").write_text(
        f"""
name: sampled
data:
  root: {tmp_path}
  path: train.parquet
  split: {{kind: files, valid: valid.parquet, test: test.parquet}}
  weight: w
features: {{x: {{kind: numeric}}}}
tasks: {{click: {{kind: binary}}}}
tracking: {{enabled: false}}
training: {{recipe: none, device: cpu, threads: 1}}
"""
    )
    result = train(load_config(tmp_path / "run.yaml"), tmp_path / "out", baselines=True)
    columns = {"model": result["tasks"]["click"]["metrics"]}
    columns |= {name: by_task["click"] for name, by_task in result["baselines"].items()}
    for name, metrics in columns.items():
        assert metrics["calibration_ratio"]["value"] == pytest.approx(1, abs=0.15), name
