"""Names that some form of output takes for markup, through every command that shows them."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from recsys_mtl.cli.main import main
from recsys_mtl.text import as_markdown, one_line
from recsys_mtl.tracking.stored_runs import StoredRuns
from tests.nasty import NASTY

pytestmark = pytest.mark.slow
OURS = {
    *("meta", "title", "style", "head", "html", "body", "header", "main", "nav", "section"),
    *("h1", "h2", "h3", "p", "a", "ul", "li", "div", "span", "strong", "pre", "code", "img"),
    *("table", "thead", "tbody", "tr", "th", "td", "caption", "figure", "figcaption"),
    *("details", "summary", "svg", "g", "desc", "text", "tspan", "line", "rect", "circle"),
    *("path", "polygon", "polyline"),
}
EXPERIMENT = "exp <b>[/b]|`\n\x1b[31m"
LEAK = "<script>alert(2)</script>|`"


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def make_rows(path: Path, shift: float) -> None:
    rng, count = np.random.default_rng(0), 400
    columns: dict[str, Any] = {}
    for index, name in enumerate(NASTY):
        few = NASTY[: 9 if shift else len(NASTY)]
        columns[name] = rng.normal(shift, 1, count) if index % 2 else rng.choice(few, count)
    columns["click"] = (rng.random(count) < 0.4).astype(int)
    columns[LEAK] = columns["click"] * 1.5
    columns["[/i] a|b"] = rng.choice(NASTY[:4], count)
    pl.DataFrame(columns).write_parquet(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows and a config, whose own name is nasty too."""
    folder = tmp_path / "d[bold]`<i>|"
    folder.mkdir()
    make_rows(folder / "old.parquet", 0.0)
    make_rows(folder / "new.parquet", 9.0)
    mlp = [{"kind": "mlp", "hidden": [4]}]
    kinds = {name: {"kind": ("categorical", "numeric")[i % 2]} for i, name in enumerate(NASTY)}
    kinds[LEAK] = {"kind": "numeric"}
    document = {
        "name": "nasty",
        "data": {"root": str(folder), "path": "old.parquet", "split": {"kind": "fraction"}},
        "features": kinds,
        "tasks": {
            "click": {"kind": "binary"},
            "segment": {"kind": "multiclass", "label": "[/i] a|b", "only_where": "click == 0"},
        },
        "model": {
            "embedding": {"backend": "plain", "dim": 2},
            "shared_experts": mlp,
            "task_experts": mlp,
            "tower": {"hidden": [4]},
        },
        "training": {
            "recipe": "none",
            "epochs": 1,
            "device": "cpu",
            "threads": 1,
            "batch_size": 128,
        },
        "tracking": {"experiment": EXPERIMENT},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return folder


def do(*words: str) -> None:
    assert main(words) == 0, words


def test_names_are_text_in_every_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = "run [bold]<i>|`x"
    do("train", "run.yaml", "--out", run)
    assert capsys.readouterr().out.startswith("nasty: test rows")
    do("predict", run, "--input", "new.parquet", "--output", "scores", "--keep", NASTY[0])
    printed = capsys.readouterr().out
    assert sum(one_line(name).strip() in printed for name in NASTY) >= 9
    page = Page(folder / "_scores/drift.html")
    assert page.tags <= OURS
    assert all(one_line(name) in page.text for name in NASTY)
    do("evaluate", run, "--out", "[b]")
    shutil.copytree(run, "again [/i]")
    do("compare", run, "again [/i]", "--out", "[/b] :smile:")
    assert run in capsys.readouterr().out
    assert as_markdown(run) in (folder / "[/b] :smile:/compare.md").read_text()
    do("register", run, "--name", "nasty", "--out", "registered")
    do("leaderboard", "--experiment", EXPERIMENT)
    result = json.loads((folder / run / "result.json").read_text())
    stored = StoredRuns(None)
    card = stored.read(result["mlflow"]["run_id"], "model_card.md")
    assert card is not None
    assert f"feature '{as_markdown(LEAK)}'" in card
    assert "<script" not in card
    params = stored.client.get_run(result["mlflow"]["run_id"]).data.params
    kinds = [key for key in params if key.startswith("features.") and key.endswith("kind")]
    assert len(kinds) == len(NASTY) + 1


def test_reports_of_studies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {
        "name": "nasty",
        "base": "run.yaml",
        "seeds": {"first": 0, "count": 2},
        "arms": {"off": {}, "__x.y-z": {"training.epochs": 2}},
        "tracking": {"enabled": False},
    }
    Path("ablation.yaml").write_text(yaml.safe_dump(plan))
    do("ablate", "ablation.yaml", "--out", "a[/b]", "--processes", "1")
    assert "\\__x.y-z: " in (folder / "a[/b]/report.md").read_text()
    assert Page(folder / "a[/b]/report.html").tags <= OURS
    do("synthesize", "demo", "--rows", "2000", "--out", "s[/b]", "--processes", "1")
    do("describe", "s[/b]")
    assert "s[/b]/describe.html" in capsys.readouterr().out
