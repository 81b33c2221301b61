"""How often a run reads its source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.config.schema import Config
from recsys_mtl.data.csv import CsvReader
from recsys_mtl.data.formats import ParquetReader
from recsys_mtl.data.prepare import prepare
from recsys_mtl.runs.reference import ReferenceSampler
from recsys_mtl.runs.train import train

EPOCHS = 2


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """Passes over the rows of each file, begun ones too."""
    counted: Counter[Path] = Counter()
    for kind in (ParquetReader, CsvReader):
        usual = kind.frames

        def frames(self: Any, *args: Any, usual: Any = usual) -> Any:
            counted[self.file.path] += 1
            return usual(self, *args)

        monkeypatch.setattr(kind, "frames", frames)
    count = CsvReader.num_rows.func

    def num_rows(self: Any) -> int:
        counted[self.file.path] += 1
        return count(self)

    monkeypatch.setattr(CsvReader.num_rows, "func", num_rows)
    return counted


def config(folder: Path, suffix: str, **data: Any) -> Config:
    rows = pl.DataFrame(
        {
            "age": np.arange(400.0),
            "user": np.arange(400) % 97,
            "day": pl.Series(np.arange(400) % 31).cast(pl.Date),
            "click": np.arange(400) % 3 == 0,
        }
    )
    for name in ("rows", "valid", "test"):
        write = rows.write_csv if suffix == "csv" else rows.write_parquet
        write(folder / f"{name}.{suffix}")
    data |= {"path": f"rows.{suffix}", "root": str(folder)}
    return Config.model_validate(
        {
            "name": "passes",
            "data": data | {"ignore": ["user", "day"]},
            "features": {"age": {"kind": "numeric"}},
            "tasks": {"click": {"kind": "binary"}},
        }
    )


@pytest.mark.parametrize(
    ("split", "suffix", "most"),
    [
        ({"kind": "fraction"}, "parquet", 2),
        ({"kind": "group", "column": "user"}, "parquet", 3),
        ({"kind": "time", "column": "day"}, "parquet", 3),
        ({"kind": "files", "valid": "valid.parquet", "test": "test.parquet"}, "parquet", 2),
        ({"kind": "fraction"}, "csv", 3),
        ({"kind": "group", "column": "user"}, "csv", 3),
        ({"kind": "time", "column": "day"}, "csv", 3),
        ({"kind": "files", "valid": "valid.csv", "test": "test.csv"}, "csv", 3),
    ],
)
@pytest.mark.parametrize("loading", ["auto", "stream"])
def test_preparing_reads_the_rows_at_most_three_times(
    tmp_path: Path,
    passes: Counter[Path],
    split: dict[str, Any],
    suffix: str,
    most: int,
    loading: str,
) -> None:
    made = config(tmp_path, suffix, split=split, loading=loading)
    prepared = prepare(made, ReferenceSampler())
    assert prepared.streamed == (loading == "stream")
    assert max(passes.values()) <= most
    assert loading == "stream" or max(passes.values()) == most
    assert len(passes) == (3 if split["kind"] == "files" else 1)


@pytest.mark.parametrize(("loading", "most"), [("memory", 2), ("stream", 2 + 2 * EPOCHS + 1)])
def test_a_plain_training_reads_the_rows_three_times(
    toy: Any, passes: Counter[Path], loading: str, most: int
) -> None:
    """Streamed rows are read again by every epoch, its validation and the test; each lane begins
    a pass of its own, over its part."""
    own = [f"training.epochs={EPOCHS}", f"data.loading={loading}", "data.lanes=1"]
    train(toy.config(*own), toy.run)
    assert passes == {toy.data: most}
