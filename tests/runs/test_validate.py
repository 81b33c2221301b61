from __future__ import annotations

import json
import re
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.config import config_hash, load_config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.data.splits import SPLITS
from recsys_mtl.errors import UserError
from recsys_mtl.runs.validate import validate
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.wiring import trainer

approx = pytest.approx
Trained = tuple[Any, dict[str, Any]]


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "Trainer", lambda *args, **options: pytest.fail("it trains"))


def test_it_describes_what_would_be_trained(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    summary = validate(toy.config())
    assert summary["rows"] == result["data"]["rows"]
    assert summary["fingerprint"] == result["data"]["fingerprint"]
    assert summary["config_hash"] == config_hash(toy.config())
    assert summary["warnings"] == []
    assert summary["tasks"] == {name: task["kind"] for name, task in result["tasks"].items()}
    network = load_bundle(toy.run / "model").network
    assert summary["parameters"] == sum(p.numel() for p in network.dense_parameters())
    assert summary["table_rows"] == (3 + 2) + (9 + 2)  # values, and a row each for unknown and null
    assert main(["validate", str(toy.folder / "toy.yaml"), "--out", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["job"] == "validate"
    assert summary.items() <= stored.items()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_what_each_of_several_processes_needs(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy, _ = trained
    config = toy.folder / "toy.yaml"
    assert main(["validate", str(config), "--processes", "4", "--out", str(tmp_path)]) == 0
    sizes = json.loads((tmp_path / "result.json").read_text())["sizes"]
    network = load_bundle(toy.run / "model").network
    tables = sum(weight.numel() for weight in network.embeddings.weights())
    tables += sum(weight.shape[0] for weight in network.embeddings.weights()) / 2  # row-wise state
    dense = sum(p.numel() for p in network.dense_parameters())
    assert sizes["replicated"] == 4 * (5 * dense + 2 * tables)
    assert sizes["sharded"] == pytest.approx(4 * (5 * dense + 2 * tables / 4), abs=4)
    assert sizes["rows"] == pytest.approx(500 * 70, rel=0.5)
    assert set(sizes["sent"]) == {"replicated", "table", "row"}
    shown = capsys.readouterr().out
    assert "\nmemory of a process: " in shown
    assert "\nsent by each of 4 in a step: " in shown


def by_split(toy: Any) -> dict[str, pl.DataFrame]:
    """The raw rows of each split."""
    splits = prepare(toy.config()).splits
    return {s: pl.concat(splits.frames(s, toy.rows().columns)) for s in SPLITS}


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_labels_and_features_of_each_split(toy: Any, loading: str) -> None:
    frame = toy.rows().with_row_index("n")
    zero = pl.col("n") % 10 == 0
    frame = frame.with_columns(
        pl.when(zero).then(0.0).otherwise("importance").alias("importance"),
        pl.when(zero).then(pl.lit("counts nowhere")).otherwise("city").alias("city"),
    )
    frame.drop("n").write_parquet(toy.data)
    summary = validate(toy.config(f"data.loading={loading}"))
    assert summary["steps_per_epoch"] == ceil(summary["rows"]["train"] / 64)
    assert summary["most_steps"] == 2 * summary["steps_per_epoch"]
    assert summary["warnings"] == []
    counted = {s: rows.filter(pl.col("importance") > 0) for s, rows in by_split(toy).items()}
    for split, rows in counted.items():
        labels = {task: by_split[split] for task, by_split in summary["labels"].items()}
        weight = rows["importance"].to_numpy()
        click = np.average(rows["click"], weights=weight)
        assert labels["click"] == {"labelled": rows.height, "base_rate": {"rate": approx(click)}}
        clicked = rows.filter(pl.col("click") == 1)
        assert labels["buy"]["labelled"] == clicked.height
        buy = np.average(clicked["buy"], weights=clicked["importance"])
        assert labels["buy"]["base_rate"] == {"rate": approx(buy)}
        bands = rows.drop_nulls("band")
        shares = {
            name: approx(np.average(bands["band"] == name, weights=bands["importance"]))
            for name in ("high", "low", "mid")
        }
        assert labels["band"] == {"labelled": bands.height, "base_rate": shares}
        known = rows.drop_nulls("spend")
        spend = np.average(known["spend"], weights=known["importance"])
        assert labels["spend"]["base_rate"] == {"mean": approx(spend, rel=1e-5)}
        assert set(labels["item"]["base_rate"]) == {"most frequent", "unknown"}
        features = summary["features"]
        for name in ("age", "income", "city", "seen"):
            expected = rows[name].null_count() / rows.height
            assert features[name]["nulls"][split] == approx(expected)
    train = counted["train"]
    assert features["city"]["distinct"] == 3
    assert features["seen"]["distinct"] == 9
    assert features["seen"]["table"] == {"rows": 11, "dim": 4, "min_count": 1}
    assert not {"table", "bins"} & features["age"].keys()
    assert features["age"]["distinct"] == train["age"].drop_nulls().n_unique()
    assert features["age"]["range"] == [train["age"].min(), train["age"].max()]
    assert features["city"]["new"] == {"valid": 0.0, "test": 0.0}
    assert summary["copies"] == {"valid": 0.0, "test": 0.0}


MONTHS = pl.col("day").dt.month()
NEW = [
    ("categorical", MONTHS, 1.0, r"feature 'month': 100% of the \w+ values never occur"),
    ("numeric", MONTHS, 1.0, r"'month': 100% .* outside the training rows' range, 2 to 2: "),
    ("categorical", MONTHS.cast(pl.String).replace({"3": None}), None, ""),  # nothing there
    ("categorical", pl.lit("always"), 0.0, ""),
    ("categorical", pl.lit(1.5), 0.0, ""),
    ("numeric", pl.lit(None, pl.Float64), None, ""),
    ("categorical", pl.int_range(pl.len()), 1.0, "100% .* never occur"),
    ("categorical_list", pl.concat_list(MONTHS, pl.lit(2)), 0.5, "50% .* never occur"),
    ("categorical_list", pl.concat_list(MONTHS, pl.lit(2), pl.lit(2)), 1 / 3, ""),
]


@pytest.mark.slow  # a table a case
@pytest.mark.parametrize(("kind", "values", "share", "warning"), NEW)
def test_values_that_training_never_saw(
    toy: Any, kind: str, values: pl.Expr, share: float | None, warning: str
) -> None:
    month = pl.when(pl.col("day") < pl.date(2024, 2, 25)).then(pl.lit(2)).otherwise(pl.lit(3))
    frame = toy.rows().with_columns(day=pl.date(2024, month, 1) + pl.duration(days=0))
    frame = frame.with_columns(values.alias("month"))
    frame.filter(pl.col("day").dt.month() == 2).write_parquet(toy.data)
    frame.filter(pl.col("day").dt.month() == 3).write_parquet(toy.folder / "later.parquet")
    document = toy.document()
    document["features"]["month"] = {"kind": kind}
    later = {"kind": "files", "valid": "later.parquet", "test": "later.parquet"}
    document["data"]["split"] = later
    summary = validate(load_config(toy.write(document)))
    new = summary["features"]["month"]["new"]
    assert new == {"valid": approx(share), "test": approx(share)} if share else not new["valid"]
    warnings = [w for w in summary["warnings"] if "'month'" in w]
    assert (len(warnings) == 1 and re.search(warning, warnings[0])) if warning else not warnings


CODE = pl.int_range(pl.len()) % 5
TYPES = [
    ("numeric", CODE == 1, {"distinct": 2, "range": [0.0, 1.0]}),
    ("numeric", CODE.cast(pl.Decimal(6, 2)), {"distinct": 5, "range": [0.0, 4.0]}),
    ("numeric", pl.lit(None, pl.Int64), {"distinct": 0}),
    ("categorical", CODE == 1, {"distinct": 2}),
    ("categorical", CODE.cast(pl.Float64), {"distinct": 5}),
    ("categorical", CODE.cast(pl.String).cast(pl.Categorical), {"distinct": 5}),
    ("categorical", pl.date(2024, 1, 1 + CODE), {"distinct": 5}),
    ("categorical", pl.time(CODE), {"distinct": 5}),
    ("categorical", pl.lit(None), {"distinct": 0}),
    ("categorical_list", pl.concat_list(CODE, pl.lit(None)), {"distinct": 5}),
    ("categorical_list", pl.concat_list(CODE).list.to_array(1), {"distinct": 5}),
    ("categorical_list", pl.lit([], pl.List(pl.Int64)), {"distinct": 0}),
]


@pytest.mark.parametrize(("kind", "values", "expected"), TYPES)
def test_columns_of_any_type(
    toy: Any, kind: str, values: pl.Expr, expected: dict[str, Any]
) -> None:
    toy.rows().with_columns(values.alias("x")).write_parquet(toy.data)
    document = toy.document()
    document["features"] = {"x": {"kind": kind}}
    document["tasks"] = {"click": {"kind": "binary"}}
    document["data"]["ignore"] = ["*"]
    summary = validate(load_config(toy.write(document)))
    assert expected.items() <= summary["features"]["x"].items()
    assert summary["warnings"] == []
    json.dumps(summary)


def test_copied_rows(toy: Any) -> None:
    frame = toy.rows()
    pl.concat([frame, frame.head(200)]).write_parquet(toy.data)
    summary = validate(toy.config())
    rows = by_split(toy)
    read = [c for c in frame.columns if c not in ("customer", "day", "importance")]
    train, valid, test = (rows[s].select(read).hash_rows() for s in SPLITS)
    assert summary["copies"] == {
        "valid": approx(valid.is_in(train.implode()).mean()),
        "test": approx(test.is_in(pl.concat([train, valid]).implode()).mean()),
    }
    (warning,) = summary["warnings"]
    assert re.match(r"\d+\.\d% of the (valid|test) rows are copies of rows of an earlier", warning)


def test_few_columns_with_few_values_have_copies_by_nature(toy: Any) -> None:
    document = toy.document()
    document["features"] = {"city": {"kind": "categorical"}}
    document["tasks"] = {"click": {"kind": "binary"}}
    document["data"]["ignore"] = ["*"]
    summary = validate(load_config(toy.write(document)))
    assert summary["copies"] == {"valid": 1.0, "test": 1.0}
    assert summary["warnings"] == []


def test_torchrec_is_not_started(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes longer than all the rest; the network has the same size without it."""
    obstacle = "recsys_mtl.model.embeddings_backend._torchrec_obstacle"
    monkeypatch.setattr(obstacle, lambda tables: pytest.fail("it is imported"))
    assert validate(toy.config("model.embedding.backend=auto"))["parameters"]
    with pytest.raises(pytest.fail.Exception):
        validate(toy.config("model.embedding.backend=torchrec"))


def test_the_command_prints_and_warns(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = toy.rows()
    leak = rows["click"] + 0.1 * np.random.default_rng(0).random(rows.height)
    rows.with_columns(leak.alias("age")).write_parquet(toy.data)
    before = set(toy.folder.rglob("*"))
    assert main(["validate", str(toy.folder / "toy.yaml")]) == 0
    out = capsys.readouterr().out
    assert "toy.yaml: valid; rows: dropped 0, train 263" in out
    assert "parameters" in out
    (warning,) = (line for line in out.splitlines() if line.startswith("warning: "))
    assert "age" in warning
    assert "click" in warning
    assert set(toy.folder.rglob("*")) == before


@pytest.mark.parametrize("loading", ["memory", "stream"])
@pytest.mark.parametrize("row", [0, 499])
def test_a_wrong_label_in_any_split_is_found(toy: Any, loading: str, row: int) -> None:
    """Sorted by time: the first row is a training row, the last one a test row."""
    here = pl.int_range(pl.len()) == row
    wrong = pl.when(here).then(pl.lit("huge")).otherwise("band").alias("band")
    toy.rows().sort("day").with_columns(wrong).write_parquet(toy.data)
    split = ('data.ignore=["customer"]', "data.split={kind: time, column: day}")
    with pytest.raises(UserError, match=f"label outside its classes.*'huge' in row {row} "):
        validate(toy.config(f"data.loading={loading}", *split))


def test_names_in_the_model_are_checked(toy: Any) -> None:
    with pytest.raises(UserError, match=r"shared\.7"):
        validate(toy.config("model.gates.preferred={click: [shared.7]}"))


def test_two_tasks_that_predict_one_column_are_reported_before_training(toy: Any) -> None:
    config = toy.config()
    other = config.tasks["click"].model_copy(update={"label": "click"})
    tasks = {**config.tasks, "band_probability_low": other}
    with pytest.raises(UserError, match=r"tasks\.band and tasks\.band_probability_low"):
        validate(config.model_copy(update={"tasks": tasks}))
