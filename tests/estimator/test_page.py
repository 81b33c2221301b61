"""docs/python.md: its blocks run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recsys_mtl.cli.main import main

PAGE = Path(__file__).parents[2] / "docs/python.md"


@pytest.mark.slow  # trains
def test_every_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import polars as pl

    monkeypatch.chdir(tmp_path)
    assert main(["synthesize", "demo", "--rows", "6000", "--out", "all", "--processes", "1"]) == 0
    rows = pl.read_parquet("all/rows/**/*.parquet", hive_partitioning=True)
    rows.drop("row_id", "month").write_parquet("rows.parquet")
    before = {*tmp_path.iterdir()}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        capsys.readouterr()
        exec(compile(block, str(PAGE), "exec"), names)
    left = {path.name for path in {*tmp_path.iterdir()} - before}
    assert left == {"evaluation.png", "importance.png", "model"}
