"""The tutorials run, in small, and their notebooks were made of them."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/tutorials"
BUILD: dict[str, Any] = runpy.run_path(str(FOLDER / "build.py"))
SMALL = {
    "churn": {
        "pl.read_csv(file)": "pl.read_csv(file).sample(1500, seed=0)",
        '{"model": {"members": MEMBERS}}': '{"model": {"members": 1}, "training": {"epochs": 2}}',
        "repeats=3": "repeats=2",
    },
    "does_transfer_help": {
        "ROWS, SEEDS = 12_000, 6": "ROWS, SEEDS = 1_500, 2",
        '"training.epochs": 4': '"training.epochs": 2',
        'f"out/{world}")': 'f"out/{world}", processes=1)',
    },
    "recommender": {"ONE_IN = 4": "ONE_IN = 80", "recipe=stream": "epochs=1"},
}
"""By tutorial what a test replaces in it, so that it takes seconds."""
REAL = {"churn", "recommender"}


def test_every_tutorial_is_here() -> None:
    assert sorted(SMALL) == BUILD["NAMES"]
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == BUILD["NAMES"]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_notebook_is_made_of_its_source_and_has_been_run(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text()
    book = json.loads(text)
    made = [(cell["cell_type"], "".join(cell["source"])) for cell in book["cells"]]
    fix = f"run python docs/tutorials/build.py {name}"
    assert made == [*BUILD["cells"]((FOLDER / f"{name}.py").read_text())], fix
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)], fix
    assert not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]
    assert len(text) < BUILD["MOST_BYTES"]


@pytest.mark.slow  # trains
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_tutorial_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in REAL and "RECSYS_MTL_DATA" not in os.environ:
        pytest.skip("RECSYS_MTL_DATA is not set: no real rows")
    source = (FOLDER / f"{name}.py").read_text()
    for old, new in SMALL[name].items():
        assert old in source
        source = source.replace(old, new)
    monkeypatch.chdir(BUILD["workplace"](tmp_path))
    with pl.Config():
        exec(compile(source, f"{name}.py", "exec"), {})


@pytest.mark.parametrize("name", sorted(REAL))
def test_without_data_a_line_says_what_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_MTL_DATA", str(tmp_path))
    cells = (text for kind, text in BUILD["cells"]((FOLDER / f"{name}.py").read_text()))
    first = next(text for text in cells if "RECSYS_MTL_DATA" in text and "import" in text)
    with pytest.raises(FileNotFoundError, match="set RECSYS_MTL_DATA to the folder that holds"):
        exec(first, {})
