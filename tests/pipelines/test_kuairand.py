"""Rows of KuaiRand from generated files in both forms, and wrong input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines import against_boosting, kuairand
from recsys_mtl.cli.script import run_script
from recsys_mtl.config import load_config
from recsys_mtl.data.opening import open_splits

OF_USERS = ("user_active_degree", "is_live_streamer", "is_video_author", "follow_user_num",
            "fans_user_num", "friend_user_num", "register_days")  # fmt: skip
OF_VIDEOS = ("author_id", "music_id", "video_type", "upload_type", "music_type", "server_width",
             "server_height")  # fmt: skip
CONFIGS = Path(kuairand.__file__).parents[1] / "configs"
DAYS = (20220420, 20220424, 20220425, 20220503, 20220504, 20220506)


def published(folder: Path, rows: int = 400) -> pl.DataFrame:
    """KuaiRand-Pure's files, made up; the log comes back."""
    rng = np.random.default_rng(0)
    numbers = {name: rng.integers(0, 2, rows) for name in kuairand.LABELS.values()}
    log = pl.DataFrame(
        {
            "user_id": rng.integers(0, 20, rows),
            "video_id": rng.integers(0, 30, rows),
            "date": np.sort(rng.choice(DAYS, rows)),
            "hourmin": rng.choice([0, 900, 2300], rows),
            "time_ms": np.arange(rows),
            **numbers,
            "play_time_ms": rng.integers(0, 90_000, rows),
            "duration_ms": rng.integers(0, 9_000, rows),
            "profile_stay_time": 1,
            "tab": 1,
        }
    )
    half = rows // 2
    log[:half].write_csv(folder / "log_standard_4_08_to_4_21_pure.csv")
    log[half:].write_csv(folder / "log_standard_4_22_to_5_08_pure.csv")
    users = {"user_id": range(20), **dict.fromkeys(OF_USERS, 1)}
    users |= {f"onehot_feat{index}": 1 for index in range(18)}
    pl.DataFrame(users).write_csv(folder / kuairand.USERS)
    videos = {"video_id": range(30), "tag": ["3", "3,5"] * 15, **dict.fromkeys(OF_VIDEOS, 1)}
    pl.DataFrame(videos).write_csv(folder / kuairand.VIDEOS)
    return log


def run(data: Path, out: Path) -> pl.DataFrame:
    assert run_script(kuairand.kuairand, ["--data", str(data), "--out", str(out)]) == 0
    return pl.read_parquet(out / "rows" / "*.parquet")


def test_rows_know_nothing_of_later_days(tmp_path: Path) -> None:
    log = published(tmp_path)
    rows = run(tmp_path, tmp_path / "out")
    kept = log.filter(pl.col("date").is_between(20220425, 20220505))
    assert rows.height == kept.height
    assert rows["time_ms"].to_list() == kept["time_ms"].to_list()
    assert rows["click"].to_list() == kept["is_click"].to_list()
    assert rows["watch_ratio"].max() == kuairand.LONGEST_RATIO
    assert {"play_time_ms", "profile_stay_time"}.isdisjoint(rows.columns)
    before = log.filter(pl.col("date") < 20220425)
    for user in range(3):
        mine = rows.filter(pl.col("user_id") == user)
        shown = before.filter(pl.col("user_id") == user)
        liked = shown.filter(pl.col("is_like") == 1)["video_id"].to_list()
        assert mine["liked"].to_list() == [liked] * mine.height
        assert mine["history_len"].to_list() == [shown.height] * mine.height
    files = sorted(path.stem for path in (tmp_path / "out" / "rows").iterdir())
    assert files == ["2022-04-25", "2022-05-03", "2022-05-04"]


def test_the_config_takes_the_rows_and_parquet_gives_the_same(tmp_path: Path) -> None:
    published(tmp_path)
    rows = run(tmp_path, tmp_path / "out")
    impressions, histories = kuairand._published(tmp_path)
    other = tmp_path / "parquet"
    other.mkdir()
    impressions.collect().write_parquet(other / kuairand.IMPRESSIONS)
    histories.collect().write_parquet(other / kuairand.HISTORIES)
    assert run(other, tmp_path / "again").equals(rows)
    config = load_config(CONFIGS / "kuairand.yaml", [f"data.root={tmp_path / 'out'}"])
    assert open_splits(config).fingerprint()
    used = {*config.features, *config.tasks, *config.data.ignore, "day"}
    assert used == set(rows.columns)
    arms = against_boosting._own_arms((), CONFIGS / "tables/arms/kuairand.yaml")
    root = [f"data.root={tmp_path / 'out'}"]
    settings = against_boosting._settings(CONFIGS / "kuairand.yaml", root, arms)
    assert len({settings_hash for settings_hash, _ in settings.values()}) == len(arms)


@pytest.mark.parametrize(
    ("removed", "column", "message"),
    [
        (kuairand.USERS, "", f"no such file; expected log_standard_*.csv, {kuairand.USERS}"),
        ("", "is_hate", "not the columns of KuaiRand-Pure; expected is_hate"),
    ],
)
def test_other_data_are_refused(
    removed: str, column: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path)
    if removed:
        (tmp_path / removed).unlink()
    for file in tmp_path.glob(kuairand.LOGS):
        pl.read_csv(file).drop(column or []).write_csv(file)
    out = tmp_path / "out"
    assert run_script(kuairand.kuairand, ["--data", str(tmp_path), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
