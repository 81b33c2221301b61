from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from data_synth import rows, write
from data_synth.generate import ROW_GROUP
from recsys_mtl.config import label_of, load_config
from recsys_mtl.config.schema import TimeSplit


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return pl.read_parquet(write(tmp_path_factory.mktemp("demo"), rows_total=60_000, seed=0))


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    count = ROW_GROUP + 7
    first = write(tmp_path / "a", rows_total=count, seed=3)
    assert first.read_bytes() == write(tmp_path / "b", rows_total=count, seed=3).read_bytes()
    assert first.read_bytes() != write(tmp_path / "c", rows_total=count, seed=4).read_bytes()
    assert pq.ParquetFile(first).metadata.num_row_groups == 2


@pytest.mark.parametrize("seed", range(5))
def test_rates(seed: int) -> None:
    frame = pl.from_arrow(rows(40_000, customers=8_000, seed=seed))
    assert isinstance(frame, pl.DataFrame)
    assert frame["click"].mean() == pytest.approx(0.10, abs=0.015)
    assert frame["conversion"].mean() == pytest.approx(0.20, abs=0.03)
    assert frame["churn"].mean() == pytest.approx(0.12, abs=0.02)
    shares = frame["segment"].value_counts(normalize=True)["proportion"]
    assert len(shares) == 4
    assert 0.15 < float(shares.min()) < float(shares.max()) < 0.35  # type: ignore[arg-type]


def test_conversion_is_labelled_exactly_after_a_click(frame: pl.DataFrame) -> None:
    assert (frame["conversion"].is_not_null() == (frame["click"] == 1)).all()


def test_features_have_what_preprocessing_must_bear(frame: pl.DataFrame) -> None:
    assert frame["day"].n_unique() == 90
    assert 0.03 < frame["age"].null_count() / len(frame) < 0.07
    assert 0.08 < frame["income"].null_count() / len(frame) < 0.12
    assert frame["device"].n_unique() == 3
    assert frame["merchant"].n_unique() > 3_000
    counts = frame["merchant"].value_counts()["count"].sort(descending=True)
    assert counts[0] > 20 * counts[100] > 0
    assert (frame["recent_categories"].list.len() == 0).any()
    for column in ("value", "income"):
        values = frame[column].drop_nulls()
        assert values.skew() > 2
        assert values.min() > 0


def test_tasks_share_structure(frame: pl.DataFrame) -> None:
    """Customers who click more convert, spend and churn differently, by the hidden directions."""
    means = frame.group_by("customer_id").agg(
        pl.col("click", "churn").mean(), pl.col("value").log().mean()
    )
    matrix = np.corrcoef(means.select("click", "churn", "value").to_numpy().T)
    assert matrix[0, 2] > 0.1
    assert matrix[0, 1] < -0.03


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["data_synth", "--rows", "50", "--out", str(tmp_path)])
    runpy.run_module("data_synth", run_name="__main__")
    assert pq.ParquetFile(tmp_path / "demo.parquet").metadata.num_rows == 50


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows: expected 1 or more, found 0"):
        write(tmp_path, rows_total=0, seed=0)


def test_the_demo_config_names_exactly_the_generated_columns() -> None:
    config = load_config(Path(__file__).parents[2] / "configs" / "demo.yaml")
    labels = {label_of(name, task) for name, task in config.tasks.items()}
    split = config.data.split
    assert isinstance(split, TimeSplit)
    named = {*config.features, *labels, *config.data.ignore, split.column}
    assert named == set(rows(3, customers=2, seed=0).column_names)
