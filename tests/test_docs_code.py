"""The documents' Python runs: blocks of pages, examples of docstrings; and the site builds.

A block is ```` ```python ````, or ```` ```python not-run ```` where it cannot be run here, and is
compiled then.
"""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from packaging.requirements import Requirement

from recsys_mtl.cli.main import main
from recsys_mtl.config.balancing import BalancingConfig
from recsys_mtl.config.combiner import CombinerConfig
from recsys_mtl.config.losses import RegressionLossConfig
from recsys_mtl.gradients import COMBINERS
from recsys_mtl.losses import BALANCERS, pointwise

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TRAINING = ("guide", "howto/from_torch_rechub", "howto/own_method", "index", "python")
ELSEWHERE = ("adatt", "combiners")
"""Pages whose block has a test file of its own, which looks at what it computed."""
EXAMPLES = ("config.load", "gradients.combiners", "losses.balancing", "metrics.differences")
TRAINING_EXAMPLES = ("estimator.model", "runs.train", "serving.bundle", "serving.predictor")
"""In the order in which they leave what the next one reads."""


def blocks(page: Path, info: str = "python") -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```", page.read_text(), re.S | re.M)


def named(name: str) -> Path:
    return DOCS / f"{name}.md"


def run(page: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks(page):
        exec(compile(block, str(page), "exec", dont_inherit=True), names)


def examples(module: str) -> None:
    result = doctest.testmod(import_module(f"recsys_mtl.{module}"))
    assert result.attempted
    assert not result.failed, module


# ------------------------------------------------------------------------ cheap ones


def test_every_block_is_run_or_says_that_it_is_not() -> None:
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in DOCS.rglob("*.md") if blocks(p)}
    assert pages == {*TRAINING, *ELSEWHERE, "statistics"}


def test_every_block_that_is_not_run_is_compiled() -> None:
    texts = [(p, text) for p in DOCS.rglob("*.md") for text in blocks(p, "python not-run")]
    assert len(texts) > 3
    for page, text in texts:
        compile(text, str(page), "exec")


def test_the_block_about_verdicts_prints_what_the_page_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(named("statistics"))
    assert f"```\n{capsys.readouterr().out}```" in named("statistics").read_text()


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_of_docstrings(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("visits.yaml").write_text(blocks(named("guide"), "yaml")[0])
    examples(module)


def test_no_example_is_left_out() -> None:
    known = {f"recsys_mtl/{m.replace('.', '/')}.py" for m in (*EXAMPLES, *TRAINING_EXAMPLES)}
    package = (ROOT / "recsys_mtl").rglob("*.py")
    shown = {p.relative_to(ROOT).as_posix() for p in package if ">>> " in p.read_text()}
    assert shown == known


def test_what_the_site_needs_is_pinned_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / ".ci/requirements-docs.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for text in project["optional-dependencies"]["docs"]:
        needed = Requirement(text)
        assert needed.specifier.contains(pins[needed.name])


# ------------------------------------------------------------------------- slow ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages start from: generated rows, and the guide's config."""
    folder = tmp_path_factory.mktemp("docs")
    rows = ["--rows", "6000", "--processes", "1"]
    assert main(["synthesize", "demo", *rows, "--out", str(folder / "data")]) == 0
    files = str(folder / "data/rows/**/*.parquet")
    table = pl.read_parquet(files, hive_partitioning=True).drop("row_id", "month")
    table.write_parquet(folder / "rows.parquet")
    (folder / "visits.yaml").write_text(blocks(named("guide"), "yaml")[0])
    return folder


@contextmanager
def registries() -> Iterator[None]:
    """What is registered inside is forgotten."""
    unions = (BalancingConfig, CombinerConfig, RegressionLossConfig)
    dicts = (COMBINERS, BALANCERS, pointwise.NAMED, *(union.members for union in unions))
    before = [dict(names) for names in dicts]
    try:
        yield
    finally:
        for names, old in zip(dicts, before, strict=True):
            names.clear()
            names.update(old)
        for union in unions:
            union._adapter = None


@pytest.mark.slow  # trains
@pytest.mark.parametrize("page", TRAINING)
def test_every_block_of_a_page_runs(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = {*folder.iterdir()}
    with registries():
        run(named(page))
    if page == "python":  # no output folder unless it is asked for
        left = {path.name for path in {*folder.iterdir()} - before}
        assert left == {"evaluation.png", "importance.png", "model"}


@pytest.mark.slow  # trains
def test_the_block_of_the_readme_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pl.read_parquet(folder / "rows.parquet")
    for name, rows in {"rows": table.head(300), "new": table.tail(300)}.items():
        rows.write_parquet(tmp_path / f"{name}.parquet")
    monkeypatch.chdir(tmp_path)
    assert len(blocks(ROOT / "README.md")) == 1
    run(ROOT / "README.md")
    assert {path.name for path in tmp_path.iterdir()} == {"rows.parquet", "new.parquet", "model"}


@pytest.mark.slow  # trains
def test_examples_that_train(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for module in TRAINING_EXAMPLES:
        examples(module)


@pytest.mark.slow  # imports the package, and reads every page
@pytest.mark.skipif(find_spec("sphinx") is None, reason="`make docs` installs sphinx")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    words = ["-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)]
    built = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "howto/nightly.html").exists()
    for page in tmp_path.rglob("*.html"):
        assert not re.search(r"<(script|link)[^>]* (src|href)=.https?:", page.read_text()), page
