from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.rows import ROW
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from recsys_mtl.features.categorical import CategoricalFeature
from recsys_mtl.tasks.retrieval import RetrievalLabel
from tests.encoded import numbers, tensors

FEATURES = TypeAdapter(dict[str, FeatureConfig]).validate_python(
    {
        "age": {"kind": "numeric"},
        "city": {"kind": "categorical", "dim": 3},
        "seen": {"kind": "categorical_list", "encoding": "hash", "buckets": 11, "pooling": "sum"},
        "spent": {"kind": "numeric", "transform": {"name": "piecewise", "bins": 3}},
        "user": {"kind": "categorical", "encoding": "hash", "buckets": 7},
    }
)
TASKS = TypeAdapter(dict[str, TaskConfig]).validate_python(
    {
        "click": {"kind": "binary"},
        "buy": {"kind": "binary", "label": "bought", "only_where": "click == 1"},
        "band": {"kind": "multiclass"},
        "value": {"kind": "regression", "label": "spent_later", "transform": "log1p"},
        "next": {"kind": "retrieval", "dim": 4, "max_items": 5},
    }
)


def _frame(rows: int = 200, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, rows)
    age[::7] = np.nan
    return pl.DataFrame(
        {
            "next": rng.integers(0, 9, rows),
            "age": age,
            "city": rng.choice(["rome", "oslo", "bern", None], rows),
            "seen": [rng.integers(0, 50, int(n)).tolist() for n in rng.integers(0, 4, rows)],
            "spent": rng.exponential(5, rows),
            "user": rng.integers(0, 10**12, rows),
            "click": rng.integers(0, 2, rows),
            "bought": rng.integers(0, 2, rows),
            "band": rng.choice(["low", "mid", "high"], rows),
            "spent_later": rng.exponential(9, rows),
            "importance": rng.uniform(0, 2, rows),
            "unused": rng.uniform(0, 2, rows),
        }
    )


def _fit(frame: pl.DataFrame, *cuts: int) -> Preprocessor:
    parts = [frame.slice(a, b - a) for a, b in pairwise([0, *sorted(cuts), frame.height])]
    return Preprocessor.fit(parts, FEATURES, TASKS, weight="importance", default_dim=6)


def _assert_equal(one: Batch, other: Batch) -> None:
    torch.testing.assert_close(tensors(one), tensors(other), rtol=0, atol=0)


def test_items_are_int64_beyond_what_float32_holds():
    buckets = 2**25
    hashed = HashBuckets([], buckets, one_spelling=True)
    label = RetrievalLabel("next", "next", table="video")
    feature = CategoricalFeature("shown", 4, hashed, of_table="video")
    encoders = Preprocessor((feature,), {"next": label}, {}, None)
    values = pl.Series("next", [f"v{number}" for number in range(40)] + [None])
    batch = encoders.encode(pl.DataFrame([values, values.alias("shown")]))
    items = [*(hashed.codes(values)[:40] - 1), 0]
    assert batch.items(0, "next").dtype == torch.int64
    odd = [item for item in items if item > 2**24 and item % 2]  # float32 has even ones only
    assert odd
    some = concat([batch.select(torch.arange(9)), batch.select(torch.arange(9, 41))])
    assert some.items(0, "next").tolist() == items
    assert some.targets(0, "next")[:40].tolist() == items[:40]
    assert some.targets(0, "next")[40].isnan()
    target, _ = encoders.encode_labels(pl.DataFrame([values]))
    assert target[:40, 0].tolist() == items[:40]


def test_a_task_shares_the_table_of_features():
    features = {"shown": {"kind": "categorical", "table": "video"}, "seen": {
        "kind": "categorical_list", "table": "video", "max_size": 4, "length": False}}  # fmt: skip
    sections = TypeAdapter(dict[str, FeatureConfig]).validate_python(features)
    tasks = TypeAdapter(dict[str, TaskConfig]).validate_python(
        {"next": {"kind": "retrieval", "table": "video"}}
    )
    frame = pl.DataFrame(
        {
            "shown": ["a", "b", "a", None],
            "seen": [["b", "c"], ["c"], [], ["c"]],
            "next": ["d", "d", None, "e"],
        }
    )
    fitted = Preprocessor.fit([frame], sections, tasks, weight=None, default_dim=6)
    for encoders in (fitted, Preprocessor.from_dict(json.loads(json.dumps(fitted.to_dict())))):
        (task,) = encoders.spec.tasks
        assert (task.outputs, task.items, task.table) == (6, 5, "video")
        label = encoders.labels["next"]
        assert label.catalogue == ["c", "a", "b", "d"]  # by rows of features and labels, then text
        assert task.frequencies == [0, 0, 0, 2]
        assert {read.rows for read in encoders.spec.reads} == {6}
        batch = encoders.encode(frame)
        assert batch.items(0, "next").tolist() == [4, 4, 0, 0]  # "e" is unknown
        assert batch.labels[:, 0].isnan().tolist() == [False, False, True, False]
        scores = torch.tensor([[9.0, 0.1, 0.3, 0.2, 0.0]])
        assert encoders.decode("next", scores.numpy(), top_k=2)["next"].to_list() == [["a", "b"]]
    fitted.features[0].coder.grow(Vocabulary([], values=["z"]))
    assert fitted.spec.tasks[0].items == 5  # max_size


def test_spec_and_batch_have_the_same_shape_and_order():
    frame = _frame()
    fitted = _fit(frame)
    spec, batch = fitted.spec, fitted.encode(frame)
    city, user, seen = spec.tables
    assert (city, user) == (TableSpec("city", 5, 3), TableSpec("user", 9, 6))
    assert seen == TableSpec("seen", 13, 6, "sum")
    assert [t.name for t in spec.tasks] == list(TASKS)
    assert sum(f.width for f in spec.features) == 1 + 1 + 1 + 1 == numbers(batch).shape[1]
    names = [n for b in batch.blocks.values() for n in b.names]
    assert [*(f.name for f in spec.features), "next"] == names
    assert batch.labels.shape == (200, 5)
    entries, lengths = batch["seen"]
    for table, ids in ((city, batch["city"]), (user, batch["user"]), (seen, entries)):
        assert ids.min() >= 0
        assert ids.max() < table.rows
    assert batch["user"].shape == lengths.shape == (200,)
    assert int(lengths.sum()) == len(entries)
    assert torch.isfinite(numbers(batch)).all()
    np.testing.assert_allclose(batch.weights, frame["importance"], rtol=1e-6)
    assert {batch["city"].dtype, entries.dtype, lengths.dtype} == {torch.int64}
    assert {numbers(batch).dtype, batch.labels.dtype, batch.weights.dtype} == {torch.float32}


def test_only_where_leaves_other_rows_unlabelled_and_out_of_the_prior():
    frame = _frame()
    fitted = _fit(frame)
    labels = fitted.encode(frame).labels[:, 1]
    clicked = torch.from_numpy(frame["click"].to_numpy() == 1)
    assert torch.equal(torch.isnan(labels), ~clicked)
    mean = np.average(labels[clicked], weights=frame["importance"].to_numpy()[clicked.numpy()])
    assert fitted.spec.tasks[1].prior == (pytest.approx(mean),)


def test_values_outside_the_sample_space_are_not_checked():
    frame = _frame().with_columns(bought=pl.when(pl.col("click") == 1).then("bought").otherwise(9))
    assert _fit(frame).encode(frame).labels[:, 1].nan_to_num().max() == 1


def _chain(**buy) -> dict[str, TaskConfig]:
    """click <- cart <- buy, the last one first."""
    return TypeAdapter(dict[str, TaskConfig]).validate_python(
        {
            "buy": {"kind": "binary", "through": "cart", "positive": "yes", **buy},
            "cart": {"kind": "binary", "through": "click"},
            "click": {"kind": "binary"},
        }
    )


def test_labels_behind_others_are_joint_and_read_only_where_those_happened():
    rows = [  # click, cart, buy -> joint labels of buy and cart
        (0, 1, "yes", 0, 0),
        (0, None, "?", 0, 0),
        (1, 0, "yes", 0, 0),
        (1, None, "yes", None, None),
        (1, 1, "yes", 1, 1),
        (1, 1, "no", 0, 1),
        (1, 1, None, None, 1),
        (None, 1, "yes", None, None),
    ]
    frame = pl.DataFrame(rows, orient="row", schema=["click", "cart", "buy", "both", "first"])
    frame = frame.with_columns(importance=pl.Series([1.0, 2, 3, 4, 5, 6, 7, 8]), age=1.0)
    features = {"age": FEATURES["age"]}
    fitted = Preprocessor.fit([frame], features, _chain(), weight="importance", default_dim=4)
    labels = fitted.encode(frame).labels.numpy()
    expected = frame.select("both", "first", "click").cast(pl.Float32).to_numpy()
    np.testing.assert_array_equal(labels, expected)
    priors = {task.name: task.prior[0] for task in fitted.spec.tasks}
    assert priors["buy"] == pytest.approx(5 / 11)  # of the rows with both before it
    assert priors["cart"] == pytest.approx(18 / 21)
    assert [task.through for task in fitted.spec.tasks] == ["cart", "click", None]
    restored = Preprocessor.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert restored.spec == fitted.spec
    single = replace(fitted.labels["buy"], through=None)
    assert "through" in single.to_dict()


def test_a_wrong_label_of_the_task_before_is_reported_once():
    frame = pl.DataFrame({"age": [1.0, 2, 3], "click": [0, 1, 7], "cart": [0, 1, 0], "buy": "no"})
    with pytest.raises(UserError) as error:
        Preprocessor.fit([frame], {"age": FEATURES["age"]}, _chain(), weight=None, default_dim=4)
    assert str(error.value).count("tasks.click: label column 'click'") == 1


def test_columns():
    fitted = _fit(_frame())
    assert fitted.columns(labels=False) == list(FEATURES)
    assert fitted.columns(labels=True) == [
        *FEATURES, "click", "bought", "band", "spent_later", "next", "importance"
    ]  # fmt: skip


def test_prediction_needs_features_only():
    frame = _frame()
    fitted = _fit(frame)
    batch = fitted.encode(frame.select(*FEATURES), labels=False)
    assert torch.isnan(batch.labels).all()
    assert (batch.weights == 1).all()
    assert torch.equal(batch["user"], fitted.encode(frame)["user"])


def test_no_rows_and_one_row():
    fitted = _fit(_frame())
    empty = fitted.encode(_frame().clear())
    assert empty.num_rows == 0
    assert empty.labels.shape == (0, 5)
    _assert_equal(
        fitted.encode(_frame().head(1)), fitted.encode(_frame()).select(torch.tensor([0]))
    )


@pytest.mark.slow  # many cuts
@given(st.sets(st.integers(1, 199), max_size=4))
def test_fit_and_encode_do_not_depend_on_how_rows_are_cut(cuts):
    frame = _frame()
    whole, cut = _fit(frame), _fit(frame, *cuts)
    assert cut.to_dict() == whole.to_dict()
    parts = [frame.slice(a, b - a) for a, b in pairwise([0, *sorted(cuts), 200])]
    _assert_equal(concat([whole.encode(part) for part in parts]), whole.encode(frame))


def test_blocks_of_a_fit_do_not_depend_on_how_rows_are_cut(monkeypatch):
    monkeypatch.setattr("recsys_mtl.data.preprocess.FIT_ROWS", 16)
    frame = _frame()
    assert _fit(frame, 1, 40, 41).to_dict() == _fit(frame).to_dict()


def test_round_trip_through_json_is_exact():
    frame = _frame()
    fitted = _fit(frame)
    restored = Preprocessor.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert restored == fitted
    assert restored.spec == fitted.spec
    _assert_equal(restored.encode(frame), fitted.encode(frame))


def test_decode_undoes_the_target_transform():
    frame = _frame()
    fitted = _fit(frame)
    encoded = fitted.encode(frame).labels[:, 3:4].numpy()
    np.testing.assert_allclose(fitted.decode("value", encoded)["value"], frame["spent_later"], 1e-5)


def test_types_may_change_between_fit_and_prediction():
    frame = _frame()
    fitted = _fit(frame)
    other = frame.with_columns(
        pl.col("user").cast(pl.Float64), pl.col("age").cast(pl.Float32).cast(pl.Float64)
    )
    assert torch.equal(fitted.encode(other)["user"], fitted.encode(frame)["user"])


def test_all_problems_are_reported_together_in_the_order_of_the_config():
    frame = _frame().with_columns(
        age=pl.lit(float("inf")),
        click=pl.lit(1),
        band=pl.lit(None, pl.String),
        spent_later=pl.lit("many"),
        importance=pl.lit(-1.0),
    )
    with pytest.raises(UserError) as caught:
        _fit(frame)
    locations = [problem.where for problem in caught.value.problems]
    assert locations == [
        "column 'age'",
        "tasks.click: label column 'click'",
        "tasks.band: label column 'band'",
        "tasks.value: label column 'spent_later'",
        "data.weight: column 'importance'",
    ]


def test_all_missing_columns_are_reported_together():
    fitted = _fit(_frame())
    with pytest.raises(UserError) as caught:
        fitted.encode(_frame().drop("city", "age").rename({"user": "users"}), labels=False)
    assert len(caught.value.problems) == 3
    assert "column 'user': missing column -> did you mean 'users'?" in str(caught.value)


def test_text_instead_of_a_number_is_refused():
    fitted = _fit(_frame())
    with pytest.raises(UserError, match=r"column 'spent': wrong type; expected numbers"):
        fitted.encode(_frame().with_columns(spent=pl.lit("12")), labels=False)


def test_row_numbers_of_the_source_are_reported():
    frame = _frame().with_columns(
        pl.int_range(1000, 1200).alias(ROW),
        age=pl.when(pl.int_range(200) == 150).then(float("inf")).otherwise("age"),
    )
    with pytest.raises(UserError, match="inf in row 1150 "):
        _fit(frame, 77)
    with pytest.raises(UserError, match="inf in row 150 "):
        _fit(frame.drop(ROW), 77)


SHARED = TypeAdapter(dict[str, FeatureConfig]).validate_python(
    {
        "video": {"kind": "categorical", "min_count": 2},
        "liked": {"kind": "categorical_list", "table": "video", "length": False},
        "city": {"kind": "categorical"},
        "first": {"kind": "categorical", "table": "video", "column": "video"},
    }
)


def _shared() -> tuple[pl.DataFrame, Preprocessor]:
    frame = pl.DataFrame(
        {
            "video": ["a", "b", "a", "c"],
            "liked": [["b", "d"], ["d", "d"], [], ["e"]],
            "city": ["a", "b", "b", "b"],
        }
    )
    return frame, Preprocessor.fit([frame], SHARED, {}, weight=None, default_dim=4)


def test_features_of_one_table_share_one_vocabulary():
    frame, fitted = _shared()
    video, liked, city, first = fitted.features
    assert video.coder is liked.coder is first.coder
    assert video.coder is not city.coder
    # rows of all columns: a 2 + 2, b 1 + 1 + 1, c 1 + 1, d 3; e is too rare
    assert video.coder.values == ["a", "b", "d", "c"]
    assert video.coder.counts == [4, 3, 3, 2]
    batch = fitted.encode(frame, labels=False)
    assert batch["video"].tolist() == batch["first"].tolist() == [2, 3, 2, 5]
    assert batch["liked"][0].tolist() == [3, 4, 4, 4, 0]
    spec = fitted.spec
    assert [(read.name, read.key) for read in spec.reads] == [
        ("video", "video"), ("city", "city"), ("first", "video"), ("liked", "video"),
    ]  # fmt: skip
    assert [(table.key, table.rows) for table in spec.tables] == [("video", 6), ("city", 4)]


def test_a_shared_vocabulary_is_stored_once_and_restored_shared():
    frame, fitted = _shared()
    stored = json.loads(json.dumps(fitted.to_dict()))
    assert [f["coder"] for f in stored["features"] if isinstance(f["coder"], str)] == ["video"] * 2
    restored = Preprocessor.from_dict(stored)
    assert restored == fitted
    assert restored.features[0].coder is restored.features[1].coder
    _assert_equal(restored.encode(frame, labels=False), fitted.encode(frame, labels=False))
