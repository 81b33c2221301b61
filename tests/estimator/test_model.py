"""`MultiTaskModel`: the package in Python."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

from recsys_mtl import MultiTaskModel
from recsys_mtl.cli.main import main
from recsys_mtl.errors import UserError
from recsys_mtl.estimator.document import config_of
from recsys_mtl.runs.results import TrainingResult
from tests.toy import DOCUMENT, toy_rows

TASKS = {"click": "binary", "spend": {"kind": "regression"}}
FEATURES = {"age": {"kind": "numeric"}, "city": "categorical", "seen": "categorical_list"}
SETTINGS = {"training": {"epochs": 2, "batch_size": 64, "threads": 1, "recipe": "none"}}


@pytest.fixture(scope="module")
def fitted(rows: pl.DataFrame) -> MultiTaskModel:
    return MultiTaskModel(TASKS, FEATURES, settings=SETTINGS).fit(rows)


TINY = {
    "model": {"shared_experts": [{"kind": "mlp", "hidden": [4]}], "tower": {"hidden": []}},
    "training": SETTINGS["training"] | {"epochs": 1},
}
NO_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row of weight 2 is not two rows: mini-batches and the validation rows are other ones"
    ),
    "check_estimators_pickle": "pickling is refused in favour of save and load",
    "check_array_api_input": "scikit-learn runs it only where SCIPY_ARRAY_API is set",
}
"""Checks of scikit-learn that do not apply, and why."""


@pytest.mark.slow  # trains
def test_the_estimator_checks(capfd: Any) -> None:
    """All of scikit-learn's, on arrays; it picks those that apply by the estimator's tags."""
    model = MultiTaskModel({"y": "regression"}, settings=TINY)
    reports = check_estimator(
        model, on_skip=None, on_fail=None, expected_failed_checks=NO_CHECKS, legacy=True
    )
    failed = {report["check_name"] for report in reports if report["status"] != "passed"}
    assert failed == {*NO_CHECKS}
    assert len(reports) > 40
    assert capfd.readouterr() == ("", ""), "nothing is printed"


def test_an_unfitted_model() -> None:
    model = MultiTaskModel(TASKS, FEATURES, seed=3)
    assert clone(model).get_params() == model.get_params()
    assert copy.deepcopy(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError, match="call fit first"):
        model.predict(toy_rows(9))


@pytest.mark.slow  # trains
def test_fits_in_threads_are_those_of_their_seeds(rows: pl.DataFrame) -> None:
    """And neither they nor loading moves the caller's random numbers."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    models = [MultiTaskModel(TASKS, FEATURES, settings=SETTINGS, seed=seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = [model.predict(rows) for model in pool.map(lambda one: one.fit(rows), models)]
    for model, scores in zip(models, together, strict=True):
        assert_frame_equal(clone(model).fit(rows).predict(rows), scores, check_exact=True)
    assert torch.rand(1) == expected


@pytest.mark.slow  # trains
def test_settings_may_be_numbers_of_numpy(rows: pl.DataFrame) -> None:
    settings = {"training": SETTINGS["training"] | {"epochs": np.int64(1)}}
    model = MultiTaskModel(TASKS, FEATURES, settings=settings, seed=np.arange(3)[1])  # type: ignore[arg-type]
    assert model.fit(rows).config_.training.epochs == 1
    assert model.config_.seed == 1


@pytest.mark.slow  # trains
def test_a_pandas_table_needs_its_lists_too(fitted: MultiTaskModel, rows: pl.DataFrame) -> None:
    batch = rows.to_arrow().to_batches()[0]
    assert_frame_equal(pl.DataFrame(pl.from_arrow(fitted.predict(batch))), fitted.predict(rows))
    for table in (rows.drop("seen"), rows.drop("seen").to_pandas()):
        with pytest.raises(UserError, match="column 'seen': missing column"):
            fitted.predict(table)


@pytest.mark.parametrize("row", [0, 9, 599])
def test_an_error_names_the_row_that_was_given(row: int, rows: pl.DataFrame) -> None:
    """Of a random half it has the number within; both rows that it may be are named."""
    weights = np.ones(600)
    weights[row] = -1.0
    with pytest.raises(
        UserError, match=r"found -1.0 in row (\d+ or )?\d+ \(counted from 0\)"
    ) as told:
        MultiTaskModel(TASKS, FEATURES).fit(rows, sample_weight=weights)
    named = str(told.value).partition(" in row ")[2].partition(" (")[0]
    assert str(row) in named.split(" or ")
    assert row < 300 or named == str(row)


@pytest.mark.slow  # trains
def test_every_kind_of_table_gives_its_own_back(fitted: MultiTaskModel, rows: pl.DataFrame) -> None:
    chosen = rows.select("age", "city", "seen").head(40)
    expected = fitted.predict(chosen)
    assert set(expected.columns) >= {"click", "spend"}
    frame = chosen.to_pandas().set_axis(range(100, 140), axis=0)
    frame["age"] = frame["age"].astype(object)
    frame["odd"] = [1, "a"] * 20
    by_pandas = fitted.predict(frame)
    with pytest.raises(UserError, match="missing column"):
        fitted.predict(frame[["odd"]])
    labelled = frame.assign(click=rows["click"].head(40).to_list())
    assert fitted.evaluate(labelled.assign(spend=1.0)).rows == 40
    assert isinstance(by_pandas, pd.DataFrame)
    assert [*by_pandas.index] == [*range(100, 140)]
    assert_frame_equal(pl.from_pandas(by_pandas), expected)
    assert_frame_equal(pl.DataFrame(fitted.predict(chosen.to_arrow())), expected)
    assert_frame_equal(pl.DataFrame(fitted.predict(chosen.to_dict(as_series=False))), expected)


@pytest.mark.slow
def test_labels_apart_and_weights(fitted: MultiTaskModel, rows: pl.DataFrame) -> None:
    labels = rows.select("click", "spend")
    apart = clone(fitted).fit(rows.select("age", "city", "seen"), labels)
    assert_frame_equal(apart.predict(rows), fitted.predict(rows))
    both = fitted.evaluate(rows, rows["click", "spend"].cast(pl.Float64))
    assert both.to_dict() == fitted.evaluate(rows).to_dict()
    weights = np.where(np.arange(600) < 300, 1.0, 0.0)
    weighted = clone(fitted).fit(rows, sample_weight=weights)
    assert (weighted.predict(rows)["click"] - fitted.predict(rows)["click"]).abs().max() > 1e-4
    half = weighted.evaluate(rows, sample_weight=weights)
    assert half.tasks["click"].labelled == rows.head(300)["click"].count()


@pytest.mark.slow
def test_drafted_with_weights_and_unlabelled_rows(rows: pl.DataFrame) -> None:
    """Weights are no feature; None and NA are unlabelled; names may be numbers."""
    chosen = rows.select("age", "city").to_pandas().set_axis([0, 1], axis=1)
    click = rows["click"].to_list()
    model = MultiTaskModel({"click": "binary"}, settings=SETTINGS)
    weights = np.where(np.arange(600) % 2, 1.0, 2.0)
    model.fit(chosen, [None, *click[1:]], sample_weight=weights)
    assert {*model.feature_names_in_} == {"0", "1"}
    assert len(model.predict(chosen)) == 600
    labels = pd.Series([pd.NA, *click[1:]], dtype="Int64")
    labelled = model.evaluate(chosen, labels).tasks["click"].labelled
    assert labelled == rows["click"][1:].count()
    with pytest.raises(UserError, match="two weights; found sample_weight and the column 'sample_"):
        model.evaluate(chosen.assign(sample_weight=1.0), labels, sample_weight=weights)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (
            ["ja", "nein"],
            [
                "task 'L': 'nein' counts as 1, the rarer value"
                " -> say tasks={'L': {'kind': 'binary', 'positive': …}}"
            ],
        ),
        (["no", "yes"], []),
        ([1, 2], []),
    ],
)
def test_a_guessed_positive_is_told(
    texts: list[Any], told: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = toy_rows(60).select("age", "city")
    rows = rows.with_columns(L=pl.Series([texts[i % 3 == 0] for i in range(60)]))
    rest = {"rows": rows, "folder": tmp_path, "split": {"kind": "fraction"}, "weighted": False}
    _, notes = config_of(["L"], None, None, 0, **rest)
    assert notes == told
    assert [record.getMessage() for record in caplog.records] == notes


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ({"kind": "fraction"}, ["always", "day"]),
        ({"kind": "time", "column": "day"}, ["week", "always"]),
        ({"kind": "group", "column": "city"}, ["always", "day"]),
    ],
)
def test_columns_that_are_left_out_are_told(
    split: dict[str, Any], told: list[str], rows: pl.DataFrame, tmp_path: Path
) -> None:
    """What goes with the time only where the newest rows are held out."""
    order = pl.int_range(pl.len())
    days = pl.lit("2024-01-01").str.to_date() + pl.duration(days=order // 10)
    rows = rows.select("age", "city", "click", day=days, week=order // 70, always=1)
    rest = {"rows": rows, "folder": tmp_path, "split": split, "weighted": False}
    config, notes = config_of(["click"], None, None, 0, **rest)
    assert [note.split("'")[1] for note in notes] == told
    assert "column 'always' is left out: constant: 1" in notes
    assert {*config.features} == {"age", "city", "week"} - {*told}
    if split["kind"] == "time":
        assert notes[0].startswith("column 'week' is left out: goes with the time: ")


@pytest.mark.slow
def test_arrays(capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns by number, a column of labels a task; and nothing is left or printed."""
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).normal(size=(300, 3))
    X[0, 1] = np.nan
    y = np.stack([X[:, 0] > 0, X[:, 2]], axis=1)
    model = MultiTaskModel({"a": "binary", "b": "regression"}, settings=TINY).fit(X, y)
    predicted = model.predict(X)
    assert isinstance(predicted, np.ndarray)
    assert predicted.shape == (300, 2)
    assert [*model.feature_names_in_] == ["x0", "x1", "x2"]
    with pytest.raises(UserError, match="X has 2 features, but MultiTaskModel is expecting 3"):
        model.predict(X[:, :2])
    assert model.evaluate(X, y).tasks["a"].labelled == 300
    html = model._repr_mimebundle_()["text/html"]
    assert "rank_correlation" in html, "a notebook shows the metrics of a fitted model"
    assert not [*tmp_path.iterdir()]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_an_interrupt_is_no_model(rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys_mtl.estimator import model as module

    result = TrainingResult.of({"interrupted": True})
    monkeypatch.setattr(module, "train", lambda *_, **__: result)
    model = MultiTaskModel(TASKS, FEATURES)
    with pytest.raises(KeyboardInterrupt):
        model.fit(rows)
    with pytest.raises(NotFittedError):
        model.predict(rows)


@pytest.mark.slow
def test_measured_as_scikit_learn_does(fitted: MultiTaskModel, rows: pl.DataFrame) -> None:
    evaluation = fitted.evaluate(rows)
    labelled = rows.with_columns(p=fitted.predict(rows)["click"]).drop_nulls("click")
    auc = roc_auc_score(labelled["click"], labelled["p"])
    frame = evaluation.to_frame().filter(task="click", metric="auc")
    assert frame["value"].item() == pytest.approx(auc, abs=1e-4)  # ties of float32
    assert frame["low"].item() < auc < frame["high"].item()
    assert evaluation.score == pytest.approx(fitted.score(rows))
    assert "auc" in evaluation._repr_html_()
    axes = evaluation.plot().axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "click  auc",
        "spend  rank_correlation",
    ]


@pytest.mark.slow
def test_what_the_labels_depend_on_is_important(fitted: MultiTaskModel, rows: pl.DataFrame) -> None:
    noise = np.random.default_rng(0).normal(size=600)
    features = FEATURES | {"noise": {"kind": "numeric"}}
    more = rows.with_columns(noise=pl.Series(noise))
    longer = {"training": SETTINGS["training"] | {"epochs": 12}}
    model = MultiTaskModel(TASKS, features, settings=longer).fit(more)
    explained = model.explain(more, repeats=3)
    frame = explained.to_frame().filter(task="click")
    assert frame["feature"][0] == "age"
    for measure in (model.explain, model.evaluate, model.score):
        with pytest.raises(UserError, match=r"^X: no rows; expected at least one$"):
            measure(more.head(0))
    for little, found in (({"max_rows": 1}, "1 rows, 5"), ({"repeats": 0}, "600 rows, 0")):
        with pytest.raises(UserError, match=rf"^explain: too little .* found {found} parts$"):
            model.explain(more, **little)
    drops = dict(frame.select("feature", "drop").iter_rows())
    assert drops["age"] > 5 * abs(drops["noise"])
    assert_frame_equal(explained.to_frame(), model.explain(more, repeats=3).to_frame())
    labels = [text.get_text() for text in explained.plot("click", most=2).axes[0].get_yticklabels()]
    assert labels == frame["feature"].head(2).to_list()


@pytest.mark.slow
def test_saved_and_loaded(fitted: MultiTaskModel, rows: pl.DataFrame, tmp_path: Path) -> None:
    expected = fitted.predict(rows)
    for _ in range(2):
        fitted.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    loaded = MultiTaskModel.load(tmp_path / "model")
    assert_frame_equal(loaded.predict(rows), expected)
    assert_frame_equal(clone(loaded).fit(rows).predict(rows), expected)
    rows.write_parquet(tmp_path / "rows.parquet")
    words = ["predict", str(tmp_path / "model"), "--input", str(tmp_path / "rows.parquet")]
    assert main([*words, "--output", str(tmp_path / "scores.parquet")]) == 0
    assert_frame_equal(pl.read_parquet(tmp_path / "scores.parquet"), expected)
    with pytest.raises(TypeError, match="use save"):
        pickle.dumps(fitted)
    with pytest.raises(UserError, match="no model"):
        fitted.save(tmp_path)


@pytest.mark.slow
def test_a_config_and_drafted_columns(rows: pl.DataFrame, tmp_path: Path, capfd: Any) -> None:
    model = MultiTaskModel.from_config(DOCUMENT).fit(rows.head(500), valid=rows.tail(100))
    assert set(model.tasks_) == set(DOCUMENT["tasks"])
    assert model.validation_.rows == 100
    assert model.config_.data.weight == "importance"
    drafted = MultiTaskModel(tasks=["click", "spend"], settings=SETTINGS).fit(
        rows.drop("buy", "customer", "importance")
    )
    assert drafted.tasks_ == ["click", "spend"]
    assert "counts as 1" not in str(drafted.warnings_)
    assert {"age", "city"} <= {*drafted.feature_names_in_}
    assert capfd.readouterr() == ("", ""), "nothing is printed"
