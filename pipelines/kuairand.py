"""Rows for configs/kuairand.yaml, from your copy of KuaiRand-Pure.

    python pipelines/kuairand.py --data FOLDER --out OUT
    recsys-mtl train configs/kuairand.yaml --data OUT --baselines

KuaiRand-Pure (Gao et al., CIKM 2022; Zenodo record 10439422) is a log of short videos shown to
users, with what they did. FOLDER holds its CSV files as they are published, or two Parquet files
made from them: `impressions.parquet`, impressions with the columns of users and videos, and
`histories.parquet`, a row a user with the lists `watched` (shown, in fact), `liked` and
`watched_long` of videos, the newest last, and `history_len`, how many were shown in all.

A row is an impression from 25 April to 5 May 2022. The lists hold what its user did before
25 April, so nothing of a later day, or of the row itself, is among its features. Of the outcomes,
play time becomes two labels, `watch_ratio` and `watch_seconds`; the other outcomes are labels, or
left out (`profile_stay_time`). OUT gets a Parquet file a day, `rows/2022-04-25.parquet` and so on.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from recsys_mtl.cli.script import run_script
from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_file
from recsys_mtl.reports.output import prepare_out

FIRST, LAST = date(2022, 4, 25), date(2022, 5, 5)
DAY = pl.col("date").cast(pl.String).str.to_date("%Y%m%d")
NEWEST = 50
"""Videos that a list keeps."""
LISTS = {
    "watched": pl.lit(True),
    "liked": pl.col("is_like") == 1,
    "watched_long": pl.col("long_view") == 1,
}
"""List of videos -> which of the shown ones it holds."""
LABELS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "profile": "is_profile_enter",
    "comment": "is_comment",
    "follow": "is_follow",
    "forward": "is_forward",
    "hate": "is_hate",
}
KEPT = (
    *("user_id", "video_id", "author_id", "music_id", "tab", "time_ms"),
    *("video_type", "upload_type", "music_type", "server_width", "server_height"),
    *("user_active_degree", "is_live_streamer", "is_video_author", "follow_user_num"),
    *("fans_user_num", "friend_user_num", "register_days"),
    *(f"onehot_feat{index}" for index in range(1, 12)),
)
READ = (*KEPT, *LABELS.values(), "date", "hourmin", "tag", "duration_ms", "play_time_ms")
LONGEST_RATIO = 5.0
"""A video that is played again and again counts as played so often."""
LOGS = "log_standard_*.csv"
USERS, VIDEOS = "user_features_pure.csv", "video_features_basic_pure.csv"
IMPRESSIONS, HISTORIES = "impressions.parquet", "histories.parquet"


def kuairand(
    data: Annotated[Path, typer.Option(help="folder with KuaiRand-Pure")],
    out: Annotated[Path, typer.Option(help="folder of the rows")] = Path("kuairand"),
) -> None:
    """Join impressions with what their users did before."""
    parquet = (data / IMPRESSIONS).exists()
    impressions, histories = _parquet(data) if parquet else _published(data)
    for table, columns in ((impressions, READ), (histories, ("user_id", "history_len", *LISTS))):
        if missing := [c for c in columns if c not in table.collect_schema()]:
            raise wrong("not the columns of KuaiRand-Pure", where=f"--data {data}",
                        expected=", ".join(missing), found="none of them")  # fmt: skip
    rows = _rows(impressions, histories).collect()
    folder = prepare_out(out) / "rows"
    for (day,), of_day in sorted(rows.partition_by("day", as_dict=True).items()):
        with atomic_file(folder / f"{day}.parquet") as file:
            of_day.write_parquet(file)
    print(f"{rows.height:,} impressions of {rows['user_id'].n_unique():,} users in {folder}")


def _parquet(data: Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Impressions and histories as Parquet."""
    impressions, histories = (_existing(data / name) for name in (IMPRESSIONS, HISTORIES))
    return pl.scan_parquet(impressions), pl.scan_parquet(histories)


def _published(data: Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Impressions and histories from the published files."""
    _existing(next(data.glob(LOGS), data / LOGS))
    log = pl.scan_csv(data / LOGS).with_columns(day=DAY)
    users, videos = (pl.scan_csv(_existing(data / name)) for name in (USERS, VIDEOS))
    impressions = (
        log.filter(pl.col("day") >= FIRST)
        .drop("day")
        .join(users, "user_id", how="left")
        .join(videos.with_columns(pl.col("tag").cast(pl.String)), "video_id", how="left")
    )
    before = log.filter(pl.col("day") < FIRST).sort("time_ms")
    lists = [
        pl.col("video_id").filter(chosen).tail(NEWEST).alias(name) for name, chosen in LISTS.items()
    ]
    return impressions, before.group_by("user_id").agg(*lists, history_len=pl.len())


def _existing(file: Path) -> Path:
    if not file.exists():
        expected = f"{LOGS}, {USERS} and {VIDEOS}, or {IMPRESSIONS} and {HISTORIES}"
        raise wrong("no such file", where=f"--data {file.parent}", found=file.name,
                    expected=expected)  # fmt: skip
    return file


def _rows(impressions: pl.LazyFrame, histories: pl.LazyFrame) -> pl.LazyFrame:
    """Features and labels, the oldest first."""
    watched, duration = pl.col("play_time_ms"), pl.col("duration_ms")
    return (
        impressions.with_columns(day=DAY)
        .filter(pl.col("day").is_between(FIRST, LAST))
        .join(histories.select("user_id", "history_len", *LISTS), "user_id", how="left")
        .select(
            "day",
            *KEPT,
            *LISTS,
            pl.col("history_len").fill_null(0),
            hour=pl.col("hourmin") // 100,
            tags=pl.col("tag").str.split(","),
            duration_seconds=duration / 1000,
            **{task: pl.col(column) for task, column in LABELS.items()},
            watch_ratio=(watched / duration.clip(1)).clip(0, LONGEST_RATIO),
            watch_seconds=watched / 1000,
        )
        .sort("time_ms", "user_id", "video_id")
    )


if __name__ == "__main__":
    sys.exit(run_script(kuairand))
