from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recsys_mtl.columns.rows import ROW
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.loading import load_rows
from recsys_mtl.data.opening import data_root, open_rows, open_splits
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.data.raw import thinned
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError
from tests.encoded import tensors

COUNT = 900


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    age = rng.normal(40, 10, COUNT)
    click = age + rng.normal(0, 10, COUNT) > 40
    pl.DataFrame(
        {
            "age": age,
            "city": rng.choice(["bern", "oslo", "rome"], COUNT),
            "seen": [[f"m{m}" for m in rng.integers(0, 9, n)] for n in rng.integers(0, 4, COUNT)],
            "weight": rng.choice([1.0, 2.0], COUNT),
            "user": rng.integers(0, 90, COUNT),
            "click": click,
            "buy": click & (rng.random(COUNT) < 0.5),
            "tmp_1": 0,
        }
    ).write_parquet(tmp_path / "rows.parquet")
    return tmp_path


def config(folder: Path, **data: Any) -> Config:
    return Config.model_validate(
        {
            "name": "test",
            "data": {
                "path": "rows.parquet",
                "root": str(folder),
                "weight": "weight",
                "ignore": ["user", "tmp_*"],
                "split": {"kind": "fraction", "valid": 0.2, "test": 0.3},
            }
            | data,
            "features": {
                "age": {"kind": "numeric"},
                "city": {"kind": "categorical"},
                "seen": {"kind": "categorical_list"},
            },
            "tasks": {
                "click": {"kind": "binary"},
                "buy": {"kind": "binary", "only_where": "click == 1"},
            },
            "training": {"recipe": "none", "batch_size": 64},
        }
    )


def rows(prepared: Prepared, split: Any, epoch: int = 0) -> Batch:
    return concat(list(prepared.loaders[split].epoch(epoch)))


def same(a: Batch, b: Batch) -> bool:
    one, other = tensors(a), tensors(b)
    return list(one) == list(other) and all(torch.equal(one[n], other[n]) for n in one)


def test_everything_that_a_training_needs(folder: Path) -> None:
    prepared = prepare(config(folder))
    assert sum(prepared.rows.values()) == COUNT
    assert prepared.rows["dropped"] == 0
    for split, loader in prepared.loaders.items():
        assert loader.num_rows == prepared.rows[split] == rows(prepared, split).num_rows
        assert max(batch.num_rows for batch in loader.epoch(0)) == 64
    assert prepared.streamed is False
    assert prepared.warnings == []
    assert prepared.fingerprint == open_splits(config(folder)).sources["train"].fingerprint()
    assert prepared.example.columns == ["age", "city", "seen"]
    assert prepared.example.height == 5
    raw = pl.read_parquet(folder / "rows.parquet")
    assert prepared.example.rows()[0] in raw.select("age", "city", "seen").rows()


def test_parts_that_pandas_and_spark_write_are_one_data_set(folder: Path) -> None:
    """A null makes floats of integers and booleans; an ignored column is anything or missing."""
    whole = pl.read_parquet(folder / "rows.parquet").with_columns(
        pl.col("age").round().cast(pl.Int64), pl.col("user").alias("city")
    )
    whole.write_parquet(folder / "rows.parquet")
    ids = {"user": pl.col("user").cast(pl.Float64), "city": pl.col("city").cast(pl.String)}
    numbers = {
        "age": pl.col("age").cast(pl.Decimal(10, 2)),
        "click": pl.col("click").cast(pl.Float64),
    }
    parts = [
        whole.head(300).with_columns(tmp_1=pl.lit("x")),
        whole.slice(300, 300).with_columns(**numbers).drop("tmp_1"),
        whole.slice(600).with_columns(**ids, tmp_1=pl.Series([[1]] * 300)),
    ]
    (folder / "parts").mkdir()
    for number, part in enumerate(parts):
        part.write_parquet(folder / f"parts/{number}.parquet")
    by_user = {"split": {"kind": "group", "column": "user"}}
    one = prepare(config(folder, **by_user))
    several = prepare(config(folder, **by_user, path="parts"))
    assert one.rows == several.rows
    assert same(rows(one, "train"), rows(several, "train"))


def test_train_is_shuffled_and_the_others_keep_the_order_of_the_file(folder: Path) -> None:
    prepared = prepare(config(folder))
    assert not same(rows(prepared, "train", 0), rows(prepared, "train", 1))
    splits = open_splits(config(folder))
    columns = prepared.preprocessor.columns(labels=True)
    for split in ("valid", "test"):
        raw = pl.concat(list(splits.frames(split, columns)))  # type: ignore[arg-type]
        assert same(rows(prepared, split), prepared.preprocessor.encode(raw))
        assert same(rows(prepared, split, 0), rows(prepared, split, 1))


def test_labels_outside_their_sample_space_are_unlabelled(folder: Path) -> None:
    labels = rows(prepare(config(folder)), "test").labels
    click, buy = labels.T
    assert torch.equal(buy.isnan(), click != 1)
    assert not click.isnan().any()


def test_streamed_or_cut_otherwise_the_rows_are_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(config(folder))
    usual = Source.frames
    monkeypatch.setattr(
        Source,
        "frames",
        lambda self, columns, **how: usual(self, columns, **how | {"chunk_rows": 53}),
    )
    for loading in ("memory", "stream"):
        other = prepare(config(folder, loading=loading, shuffle_buffer=200))
        assert other.streamed == (loading == "stream")
        assert other.preprocessor.to_dict() == whole.preprocessor.to_dict()
        assert other.rows == whole.rows
        assert other.example.equals(whole.example)
        for split in ("valid", "test"):
            assert same(rows(other, split), rows(whole, split))
        ages = [rows(p, "train")["age"][:, 0].sort().values for p in (whole, other)]
        assert torch.equal(*ages)


def test_auto_streams_what_does_not_fit(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    large = pl.concat([pl.read_parquet(folder / "rows.parquet")] * 40)
    large.write_parquet(folder / "rows.parquet")
    with caplog.at_level(logging.INFO):
        assert prepare(config(folder, memory_limit_mb=1)).streamed is True
        assert "streamed" in caplog.text
        assert prepare(config(folder, memory_limit_mb=100)).streamed is False
        assert "held in memory" in caplog.text
    assert prepare(config(folder, memory_limit_mb=1, loading="memory")).streamed is False


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_only_the_requested_rows(folder: Path, loading: str) -> None:
    made = config(folder, loading=loading)
    prepared = prepare(made)
    loader = load_rows(made, open_splits(made).rows("test"), prepared.preprocessor)
    assert same(concat(list(loader.epoch(0))), rows(prepared, "test"))


def test_fitting_reads_the_training_rows_only(folder: Path) -> None:
    frame = pl.read_parquet(folder / "rows.parquet")
    held_out = frame.with_columns(city=pl.lit("paris"), age=pl.lit(1e6))
    held_out.write_parquet(folder / "held_out.parquet")
    split = {"kind": "files", "valid": "held_out.parquet", "test": "held_out.parquet"}
    prepared = prepare(config(folder, split=split))
    assert "paris" not in str(prepared.preprocessor.to_dict())
    assert (rows(prepared, "test")["city"] == 0).all()  # the unknown row
    sources = open_splits(config(folder, split=split)).sources
    train, held_out_rows = sources["train"].fingerprint(), sources["test"].fingerprint()
    assert prepared.fingerprint == f"{train}-{held_out_rows}"  # a file that serves twice, once


def test_a_sorted_file_is_fitted_on_rows_from_all_over_it(folder: Path) -> None:
    frame = pl.read_parquet(folder / "rows.parquet").sort("age")
    frame.write_parquet(folder / "rows.parquet")
    ages = pl.concat(list(open_splits(config(folder)).frames("train", ["age"])))["age"]
    fitted = prepare(config(folder, fit_rows=100)).preprocessor.to_dict()
    assert fitted != prepare(config(folder)).preprocessor.to_dict()
    assert fitted == prepare(config(folder, fit_rows=100)).preprocessor.to_dict()
    assert fitted["features"][0]["mean"] == pytest.approx(40.0, abs=4 * 10 / 100**0.5)
    sampled = pl.concat(list(open_splits(config(folder)).sample("train", ["age"], 100)))
    assert 60 < len(sampled) < 140
    few = thinned(sampled, 0.1, 0)
    assert 0 < len(few) < len(sampled)
    assert sampled["age"].is_in(ages.implode()).all()


def test_the_sample_space_counts_for_leaks_too(folder: Path) -> None:
    """`buy` is 0 without a click, so that a feature that tells clicks nearly tells purchases."""
    frame = pl.read_parquet(folder / "rows.parquet")
    bought = frame.with_columns(
        buy=pl.col("click") & (pl.int_range(pl.len()) % 20 > 0),
        age=pl.col("click") + pl.col("age") / 1000,
    )
    bought.write_parquet(folder / "rows.parquet")
    warnings = prepare(config(folder, leakage_threshold=0.9)).warnings
    assert any("'click'" in w for w in warnings)
    assert not any("'buy'" in w for w in warnings)


def test_names_that_are_patterns_or_reserved_elsewhere_are_names_of_columns(folder: Path) -> None:
    """`*` and `^…$` select columns in polars, `[/b]` is a pattern that does not match itself."""
    frame = pl.read_parquet(folder / "rows.parquet")
    names = ["*", "^a.*$", "__row__", "[1-2]"]
    frame = frame.with_columns(pl.Series(name, range(COUNT)) for name in [*names, "[/b]"])
    frame.write_parquet(folder / "rows.parquet")
    made = config(folder, ignore=["user", "tmp_*", "[/b]", "weight", "^a.*$"], weight="[1-2]")
    features = made.features | dict.fromkeys(("*", "__row__"), made.features["age"])
    prepared = prepare(made.model_copy(update={"features": features}))
    assert prepared.preprocessor.columns(labels=False) == [*made.features, "*", "__row__"]
    assert prepared.example.columns == [*made.features, "*", "__row__"]
    with pytest.raises(UserError, match=r"'\^a\.\*\$' \(polars takes the name for a pattern\)"):
        prepare(made.model_copy(update={"features": {"^a.*$": made.features["age"]}}))


def test_all_column_problems_are_reported_together(folder: Path) -> None:
    frame = pl.read_parquet(folder / "rows.parquet")
    frame.rename({"city": "town"}).drop("weight").write_parquet(folder / "rows.parquet")
    made = config(folder, split={"kind": "group", "column": "usr"})
    made = made.model_copy(
        update={
            "tasks": {
                "click": made.tasks["click"],
                "buy": made.tasks["buy"].model_copy(update={"only_where": "clik == 1"}),
                "spend": made.tasks["click"].model_copy(update={"label": "spent"}),
            }
        }
    )
    with pytest.raises(UserError) as caught:
        prepare(made)
    problems = [(problem.where, problem.what) for problem in caught.value.problems]
    assert problems == [
        ("features.city", "missing column"),
        ("tasks.spend.label", "missing column"),
        ("data.weight", "missing column"),
        ("data.split.column", "missing column"),
        ("tasks.buy.only_where", "unknown column 'clik' in `clik == 1`"),
        ("data.path", "columns not mentioned"),
    ]
    assert caught.value.problems[-1].found == "town"
    assert "'user'" in caught.value.problems[3].fix


def test_a_share_of_the_labels_trains_and_all_of_them_test(folder: Path) -> None:
    made = config(folder)
    half = made.tasks["buy"].model_copy(update={"label_share": 0.5})
    complete, thin = (
        prepare(c) for c in (made, made.model_copy(update={"tasks": {**made.tasks, "buy": half}}))
    )
    for split, some in (("train", True), ("valid", True), ("test", False)):
        one, other = rows(complete, split).labels, rows(thin, split).labels
        known, left = ~one.isnan(), ~other.isnan()
        assert torch.equal(known[:, 0], left[:, 0])
        assert not (left & ~known).any()
        assert torch.equal(known[:, 1], left[:, 1]) != some
        if some:
            assert left[:, 1].sum() / known[:, 1].sum() == pytest.approx(0.5, abs=0.15)
        assert torch.equal(one[left], other[left])


def test_labels_that_a_condition_reads_are_not_dropped(folder: Path) -> None:
    made = config(folder)
    click = made.tasks["click"].model_copy(update={"label_share": 0.5})
    with pytest.raises(UserError, match="a condition reads 'click', of which label_share"):
        prepare(made.model_copy(update={"tasks": {**made.tasks, "click": click}}))


def test_a_column_that_only_a_held_out_file_lacks(folder: Path) -> None:
    frame = pl.read_parquet(folder / "rows.parquet")
    frame.drop("age").write_parquet(folder / "test.parquet")
    split = {"kind": "files", "valid": "rows.parquet", "test": "test.parquet"}
    with pytest.raises(
        UserError, match=r"features\.age: missing column; .*none in data\.split\.test"
    ):
        prepare(config(folder, split=split))


def test_a_leak_is_a_warning_that_names_the_feature(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pl.read_parquet(folder / "rows.parquet")
    frame.with_columns(age=pl.col("click") * 2.0 + 0.01 * pl.col("age") / 100).write_parquet(
        folder / "rows.parquet"
    )
    (warning,) = prepare(config(folder)).warnings
    assert "'age'" in warning
    assert "'click'" in warning
    assert warning in caplog.text


def test_values_are_checked_in_every_split(folder: Path) -> None:
    here = pl.int_range(pl.len())
    frame = pl.read_parquet(folder / "rows.parquet")
    bad = frame.with_columns(
        pl.when(here == 0).then(float("inf")).otherwise("age").alias("age"),
        pl.when(here == 1).then(-1.0).otherwise("weight").alias("weight"),
    )
    bad.write_parquet(folder / "rows.parquet")
    frame.write_parquet(folder / "good.parquet")
    with pytest.raises(UserError) as caught:
        prepare(
            config(folder, split={"kind": "files", "valid": "good.parquet", "test": "good.parquet"})
        )
    assert [problem.what for problem in caught.value.problems] == ["infinite value", "not a weight"]
    split = {"kind": "files", "valid": "good.parquet", "test": "rows.parquet"}
    with pytest.raises(UserError, match=r"infinite value; .*row 0 "):
        prepare(config(folder, path="good.parquet", split=split))


def test_rows_without_a_split(folder: Path) -> None:
    """All of them, in any folder, whatever else is in the file; what the config names is needed."""
    made = config(folder, split={"kind": "group", "column": "user"}, ignore=["tmp_*"])
    frame = pl.read_parquet(folder / "rows.parquet").drop("user").head(70)
    (folder / "sub").mkdir()
    frame.write_parquet(folder / "sub" / "new.parquet")
    opened = open_rows(made, "new.parquet", root=folder / "sub")
    assert opened.num_rows == 70
    read = pl.concat(list(opened.frames(["age"])))
    assert read["age"].equals(frame["age"])
    assert read[ROW].to_list() == list(range(70))
    assert opened.fingerprint() == opened.source.fingerprint()
    loader = load_rows(made, opened, prepare(made).preprocessor)
    assert loader.num_rows == concat(list(loader.epoch(0))).num_rows == 70
    frame.drop("age", "buy").write_parquet(folder / "few.parquet")
    with pytest.raises(UserError) as caught:
        open_rows(made, "few.parquet", root=folder)
    assert [p.where for p in caught.value.problems] == ["features.age", "tasks.buy.label"]


def test_the_split_of_another_run(folder: Path) -> None:
    """The columns are the config's, files, split and seed the other run's."""
    run = config(folder)
    other = config(
        folder, path="nowhere.parquet", split={"kind": "fraction", "test": 0.7}, ignore=[]
    )
    test = open_splits(other, run=run).rows("test")
    assert test.num_rows == open_splits(run).counts["test"]
    assert test.fingerprint() == open_splits(run).fingerprint()
    with pytest.raises(UserError, match="no such file"):
        open_splits(other)
    with pytest.raises(UserError, match=f"no such file.*'{folder / 'else'}"):
        open_splits(other, run=run, root=folder / "else")


def test_data_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_MTL_DATA", "/elsewhere")
    assert data_root(config(folder)) == folder
    assert data_root(config(folder, root=None)) == Path("/elsewhere")
    monkeypatch.delenv("RECSYS_MTL_DATA")
    assert data_root(config(folder, root=None)) == Path()
