from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from recsys_mtl.config.data import (
    FileSplitConfig,
    FractionSplitConfig,
    GroupSplitConfig,
    SplitConfig,
    TimeSplitConfig,
)
from recsys_mtl.data import assign as assign_module
from recsys_mtl.data.assign import Bounds, assign, count_rows, read_times, require_rows, time_bounds
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError

FRACTION = FractionSplitConfig(kind="fraction", valid=0.15, test=0.25)
GROUP = GroupSplitConfig(kind="group", column="user", valid=0.15, test=0.25)


def shares(splits: np.ndarray) -> np.ndarray:
    return np.bincount(splits, minlength=3) / len(splits)


def source_of(folder: Path, values: object) -> Source:
    pl.DataFrame({"t": values}).write_parquet(folder / "t.parquet")
    return Source.open("t.parquet", root=folder)


def time(**options: object) -> TimeSplitConfig:
    return TimeSplitConfig(kind="time", column="t", **options)


def bounds_of(source: Source, split: TimeSplitConfig) -> Bounds:
    return time_bounds(read_times(source, split.column), split)


def splits_of(folder: Path, values: object, split: TimeSplitConfig) -> list[int]:
    bounds = bounds_of(source_of(folder, values), split)
    return assign(pl.DataFrame({"t": values}), 0, split, 0, bounds).tolist()


# --- fraction and group


def test_fractions_are_met_and_depend_on_the_seed() -> None:
    frame = pl.DataFrame({"x": np.zeros(50_000)})
    splits = assign(frame, 0, FRACTION, 0)
    assert splits.dtype == np.int8
    assert np.allclose(shares(splits), [0.6, 0.15, 0.25], atol=0.01)
    other = assign(frame, 0, FRACTION, 1)
    assert np.isclose(np.mean(splits == other), 0.6**2 + 0.15**2 + 0.25**2, atol=0.02), (
        "independent"
    )
    assert (assign(frame, 0, FRACTION, 0) == splits).all()


def test_the_test_split_stays_when_valid_changes() -> None:
    frame = pl.DataFrame({"x": np.zeros(5000)})
    wide = FractionSplitConfig(kind="fraction", valid=0.4, test=0.25)
    same = assign(frame, 0, FRACTION, 0) == 2
    assert (same == (assign(frame, 0, wide, 0) == 2)).all()


@pytest.mark.parametrize("split", [FRACTION, GROUP])
def test_splits_do_not_depend_on_the_chunks(split: FractionSplitConfig | GroupSplitConfig) -> None:
    frame = pl.DataFrame({"user": np.random.default_rng(0).integers(0, 50, 1000)})
    whole = assign(frame, 0, split, 7)
    for size in (1, 13, 999):
        parts = [assign(frame.slice(i, size), i, split, 7) for i in range(0, 1000, size)]
        assert (np.concatenate(parts) == whole).all()


def test_a_group_is_in_one_split_whatever_its_type() -> None:
    users = np.random.default_rng(0).integers(0, 5000, 40_000)
    splits = assign(pl.DataFrame({"user": users}), 0, GROUP, 3)
    per_user = pl.DataFrame({"u": users, "s": splits}).group_by("u").agg(pl.col("s").n_unique())
    assert per_user["s"].max() == 1
    assert np.allclose(shares(splits), [0.6, 0.15, 0.25], atol=0.03)
    for same in (
        users.astype(float),
        users.astype(str),
        pl.Series(users.astype(str)).cast(pl.Categorical),
    ):
        assert (assign(pl.DataFrame({"user": same}), 0, GROUP, 3) == splits).all()
    assert (assign(pl.DataFrame({"user": users}), 0, GROUP, 4) != splits).any()


def test_a_null_group_is_reported_with_its_row() -> None:
    with pytest.raises(UserError, match="column 'user' is null in row 102"):
        assign(pl.DataFrame({"user": ["a", "b", None]}), 100, GROUP, 0)


# --- time

DAY = date(2024, 1, 1)
DAYS = [DAY + timedelta(days=d) for d in range(10)]
KINDS = {
    "date": DAYS,
    "datetime": [datetime(d.year, d.month, d.day) for d in DAYS],
    "zoned": pl.Series([datetime(d.year, d.month, d.day) for d in DAYS]).dt.replace_time_zone(
        "UTC"
    ),
    "text": [str(d) for d in DAYS],
    "text with time": [f"{d}T00:00:00" for d in DAYS],
    "text with zone": [f"{d}T01:30:00+01:30" for d in DAYS],
    "text with Z": [f"{d} 00:00:00.000Z" for d in DAYS],
    "text in minutes": [f"{d} 00:00" for d in DAYS],
}


@pytest.mark.parametrize("kind", KINDS)
def test_dates_of_every_kind(tmp_path: Path, kind: str) -> None:
    given = time(valid_from="2024-01-06", test_from="2024-01-09T00:00", gap=2.0)
    assert splits_of(tmp_path, KINDS[kind], given) == [0, 0, 0, -1, -1, 1, -1, -1, 2, 2]
    quantiles = time(valid=0.3, test=0.2)
    assert splits_of(tmp_path, KINDS[kind], quantiles) == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_numbers(tmp_path: Path, dtype: type) -> None:
    values = np.array([5, 1, 9, 3, 7, 2, 8, 4, 6, 0], dtype=dtype)
    ordered = np.argsort(values)
    given = time(valid_from=5, test_from=8.0, gap=1)
    expected = [0, 0, 0, 0, -1, 1, 1, -1, 2, 2]
    assert np.array(splits_of(tmp_path, values, given))[ordered].tolist() == expected
    quantiles = time(valid=0.3, test=0.2)
    expected = [0] * 5 + [1] * 3 + [2] * 2
    assert np.array(splits_of(tmp_path, values, quantiles))[ordered].tolist() == expected


def test_no_row_of_a_later_split_is_older_and_ties_stay_together(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 40, 3000)
    splits = np.array(splits_of(tmp_path, values, time(valid=0.2, test=0.2)))
    assert values[splits == 0].max() < values[splits == 1].min()
    assert values[splits == 1].max() < values[splits == 2].min()
    assert np.allclose(shares(splits), [0.6, 0.2, 0.2], atol=0.03)


def test_a_fraction_of_zero_leaves_the_split_empty(tmp_path: Path) -> None:
    assert splits_of(tmp_path, np.arange(4), time(valid=0.0, test=0.5)) == [0, 0, 2, 2]
    assert splits_of(tmp_path, np.arange(4), time(valid=0.5, test=0.0)) == [0, 0, 1, 1]
    assert splits_of(tmp_path, DAYS[:4], time(valid=0.5, test=0.0)) == [0, 0, 1, 1]


def test_quantiles_of_many_rows_come_from_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assign_module, "QUANTILE_ROWS", 20_000)
    splits = splits_of(tmp_path, np.arange(200_000), time(valid=0.2, test=0.3))
    assert np.allclose(shares(np.array(splits)), [0.5, 0.2, 0.3], atol=0.01)


def test_the_sample_does_not_depend_on_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, column = source_of(tmp_path, np.arange(30_000)), "t"
    whole = read_times(source, column)
    assert whole.complete
    assert len(whole.values) == 30_000
    monkeypatch.setattr(assign_module, "QUANTILE_ROWS", 2_000)
    sample = read_times(source, column)
    usual = Source.frames
    monkeypatch.setattr(Source, "frames", lambda self, columns: usual(self, columns, chunk_rows=71))
    assert read_times(source, column).values.tolist() == sample.values.tolist()
    assert not sample.complete
    assert 1_700 < len(sample.values) < 2_300


@pytest.mark.parametrize("quantile_rows", [2_000, 200])
@pytest.mark.parametrize("split", [FRACTION, GROUP, time(valid=0.2, test=0.3, gap=5)])
def test_rows_are_counted_as_they_are_assigned(
    tmp_path: Path,
    split: FractionSplitConfig | GroupSplitConfig | TimeSplitConfig,
    quantile_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assign_module, "QUANTILE_ROWS", quantile_rows)
    monkeypatch.setattr(assign_module, "_COUNTED_ROWS", 300)
    frame = pl.DataFrame({"t": np.arange(1000)[::-1] // 2, "user": np.arange(1000) % 77})
    frame.write_parquet(tmp_path / "rows.parquet")
    counted, bounds = count_rows(Source.open("rows.parquet", root=tmp_path), split, 3)
    codes = assign(frame, 0, split, 3, bounds)
    assert counted == np.bincount(codes + 1, minlength=4).tolist()
    assert (counted[0] > 0) == isinstance(split, TimeSplitConfig)


@pytest.mark.parametrize("gap", [0, 10])
def test_integers_beyond_floats_are_as_small_ones(tmp_path: Path, gap: int) -> None:
    small = np.arange(0, 30_000, 10)
    split = time(valid=0.1, test=0.1, gap=gap)
    expected = splits_of(tmp_path, small, split)
    assert expected.count(-1) == (gap > 0) * 2
    assert splits_of(tmp_path, small + 1_700_000_000_000_000_000, split) == expected


@pytest.mark.parametrize("zone", ["Z", "+00", " UTC", "+0000", "+00:00", "", " +00"])
@pytest.mark.parametrize(
    "form", ["%Y-%m-%dT%H:%M", "%Y-%-m-%-dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"]
)
def test_times_in_any_iso_spelling(tmp_path: Path, form: str, zone: str) -> None:
    times = [datetime(2024, 1, 1, 0, 30) + timedelta(hours=7 * i) for i in range(60)]
    texts = [f"{moment.strftime(form)}{zone}" for moment in times]
    borders = datetime(2024, 1, 5, 10), datetime(2024, 1, 9, 23, 30)
    split = time(valid_from="2024-01-05T10:00", test_from=f"2024-01-09 23:30{zone}")
    expected = [sum(moment >= border for border in borders) for moment in times]
    assert splits_of(tmp_path, texts, split) == expected


def test_the_bounds_are_plain_numbers(tmp_path: Path) -> None:
    bounds = bounds_of(source_of(tmp_path, DAYS), time(gap=1.5))
    assert bounds.dates
    assert bounds.gap == 1.5 * 86_400_000_000
    assert bounds.valid_from == (DAYS[7] - date(1970, 1, 1)).days * 86_400_000_000


@pytest.mark.parametrize(
    ("values", "options", "parts"),
    [
        ([1, None, 3], {}, ["'t' is null in row 1"]),
        ([1.0, 2.0, float("nan")], {}, ["'t' is null in row 2"]),
        (["2024-01-01", "soon"], {}, ["'t' cannot be read as time", "'soon' in row 1"]),
        ([True, False], {}, ["type Boolean"]),
        ([1, 2], {"valid_from": "2024-01-01"}, ["valid_from", "a number", "'2024-01-01'"]),
        (DAYS, {"test_from": 7}, ["test_from", "an ISO date", "7"]),
        (DAYS, {"test_from": "7.1.2024"}, ["no date", "'7.1.2024'"]),
        (
            DAYS,
            {"valid_from": "2024-01-05", "test_from": "2024-01-03"},
            ["valid starts after test"],
        ),
    ],
)
def test_wrong_times(
    tmp_path: Path, values: object, options: dict[str, object], parts: list[str]
) -> None:
    source = source_of(tmp_path, values)
    with pytest.raises(UserError) as error:
        bounds_of(source, time(**options))
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_times_of_digits_are_numbers(tmp_path: Path) -> None:
    """A CSV's reader takes 0930 for a code; one that has ISO dates too is refused."""
    rows = [f"{hour:02}{minute:02}" for hour in range(24) for minute in range(0, 60, 10)]
    (tmp_path / "a.csv").write_text("t\n" + "\n".join(rows))
    source = Source.open("a.csv", root=tmp_path)
    assert source.columns["t"] == pa.large_string()
    assert bounds_of(source, time(valid_from=930, test_from=1810)) == Bounds(930, 1810, 0, False)
    (tmp_path / "b.csv").write_text("t\n2024-01-01\n")
    with pytest.raises(UserError, match=r"cannot be read as time.* found numbers and dates ->"):
        bounds_of(Source.open(["a.csv", "b.csv"], root=tmp_path), time())


def test_an_unknown_time_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing column 'tt'"):
        bounds_of(source_of(tmp_path, DAYS), TimeSplitConfig(kind="time", column="tt"))


def test_gap_wider_than_a_split_drops_it() -> None:
    bounds = Bounds(valid_from=5, test_from=7, gap=3, dates=False)
    splits = assign(pl.DataFrame({"t": range(9)}), 0, time(), 0, bounds)
    assert splits.tolist() == [0, 0, -1, -1, -1, -1, -1, 2, 2]


@pytest.mark.parametrize(
    ("split", "part"),
    [
        (FRACTION, "give more rows"),
        (GROUP, "give more groups"),
        (time(), "lower the gap"),
        (FileSplitConfig(kind="files", valid="v", test="t"), "give files with rows"),
    ],
)
def test_an_empty_split_is_an_error(split: SplitConfig, part: str) -> None:
    require_rows({"dropped": 0, "train": 1, "valid": 1, "test": 1}, split)
    with pytest.raises(UserError) as error:
        require_rows({"train": 9, "valid": 0, "test": 0}, split)
    assert f"data.split (kind {split.kind}): no rows in valid and test" in str(error.value)
    assert part in str(error.value)


def test_a_number_beyond_64_bits_is_reported(tmp_path: Path) -> None:
    times = pl.Series([1, 2**63, 3], dtype=pl.UInt64)
    with pytest.raises(UserError, match=r"cannot be read as time.*9223372036854775808.* in row 1"):
        splits_of(tmp_path, times, time())
