"""What the documents show must exist: configs, links, jobs and options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from data_synth import load_plan
from pipelines.nightly import nightly
from recsys_mtl.ablation.plan import load_ablation
from recsys_mtl.cli.main import app
from recsys_mtl.config import config_from_yaml, load_config
from recsys_mtl.lifecycle.gate import Gate, load_gate
from recsys_mtl.tuning import load_tuning

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / ".github/CONTRIBUTING.md",
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
SYNTHETIC = ROOT / "docs/synthetic.md"
ABLATIONS = sorted(ROOT.glob("configs/ablations/*.yaml"))
TUNINGS = sorted(ROOT.glob("configs/tuning/*.yaml"))
GATE = ROOT / "configs/gate.yaml"
CONFIGS = sorted(set(ROOT.glob("configs/*.yaml")) - {GATE})
OTHERS = {"--build-arg", "--no-deps", "--node-rank", "--rdzv-conf"}
"""Options of other programs that stand alone in the text."""

Document = dict[str, Any]


def of(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", paths, ids=lambda path: str(path.relative_to(ROOT)))


def test_there_are_pages_and_configs() -> None:
    assert {"README.md", "guide.md", "reference.md", "mathematics.md"} <= {p.name for p in PAGES}
    assert len(CONFIGS) >= 3


# ------------------------------------------------------------------------- configs


def yaml_blocks(page: Path, info: str = "yaml") -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```", page.read_text(), re.S | re.M)


def guide_config() -> Document:
    """The guide's complete config, which the fragments of all pages change."""
    document: Document = yaml.safe_load(yaml_blocks(ROOT / "docs/guide.md")[0])
    return document


def changed(base: Document, fragment: Document) -> Document:
    """`base` with the fragment's keys; a section of another kind is replaced."""
    result = dict(base)
    for key, value in fragment.items():
        old = base.get(key)
        merges = isinstance(value, dict) and isinstance(old, dict)
        if merges and value.get("kind", old.get("kind")) == old.get("kind"):
            result[key] = changed(old, value)
        else:
            result[key] = value
    return result


def test_every_yaml_block_about_synthetic_data_is_a_valid_plan(tmp_path: Path) -> None:
    blocks = yaml_blocks(SYNTHETIC)
    assert blocks
    for block in blocks:
        (tmp_path / "plan.yaml").write_text(block)
        assert load_plan(tmp_path / "plan.yaml").tasks


def base_of(page: Path) -> Document:
    """The config that a page's fragments change."""
    if page.name == "recommender.md":
        return yaml.safe_load((ROOT / "configs/kuairand.yaml").read_text())
    return guide_config()


@of([page for page in PAGES if page != SYNTHETIC])
def test_every_yaml_block_is_a_valid_config_or_changes_the_guide_s(page: Path) -> None:
    for number, block in enumerate(yaml_blocks(page), 1):
        document = yaml.safe_load(block)
        if "base" in document:
            continue  # an ablation, see below
        complete = {"name", "tasks"} <= document.keys()
        text = block if complete else yaml.safe_dump(changed(base_of(page), document))
        config = config_from_yaml(text, where=f"{page.name}, YAML block {number}")
        assert config.tasks


def test_every_ablation_is_valid(tmp_path: Path) -> None:
    shown = [block for page in PAGES for block in yaml_blocks(page) if "\nbase:" in block]
    assert shown
    assert ABLATIONS
    for number, text in enumerate([*shown, *(path.read_text() for path in ABLATIONS)]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        assert len(load_ablation(path).names) > 1


def test_every_tuning_is_valid(tmp_path: Path) -> None:
    shown = [block for page in PAGES for block in yaml_blocks(page, "yaml tuning")]
    assert shown
    assert TUNINGS
    for text in [*shown, *(path.read_text() for path in TUNINGS)]:
        (tmp_path / "tuning.yaml").write_text(text)
        assert load_tuning(tmp_path / "tuning.yaml").trials > 1


@of(CONFIGS)
def test_every_ready_config_loads(page: Path) -> None:
    assert load_config(page).name == page.stem


def test_the_gate_holds_the_defaults() -> None:
    assert load_gate(GATE) == Gate()


def test_every_gate_that_is_shown_is_valid(tmp_path: Path) -> None:
    shown = [block for page in PAGES for block in yaml_blocks(page, "yaml gate")]
    assert shown
    for text in shown:
        (tmp_path / "gate.yaml").write_text(text)
        assert load_gate(tmp_path / "gate.yaml") != Gate()


# --------------------------------------------------------------------------- links


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", without_code(page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@of(PAGES)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name}: {target}"


@of(PAGES)
def test_every_path_of_the_repository_exists(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", without_code(page.read_text()))
    folders = ("recsys_mtl/", "data_synth/", "pipelines/", "tests/")
    for path in (span for span in spans if re.fullmatch(r"[\w/.]+", span)):
        assert not path.startswith(folders) or (ROOT / path).exists(), f"{page.name}: {path}"


# ------------------------------------------------------------------------ commands


@cache
def options() -> dict[str, set[str]]:
    """Options of every job; of the command itself under the empty name."""
    command: Any = typer.main.get_command(app)
    options_of = {name: option_names(job) for name, job in command.commands.items()}
    return options_of | {"": option_names(command)}


def option_names(command: Any) -> set[str]:
    names = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    return {"-h", "--help", *(name for name in names if name.startswith("-"))}


def commands(page: Path) -> Iterator[list[str]]:
    """The words after `recsys-mtl` wherever code shows a command."""
    text = page.read_text().replace("\\\n", " ")
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M))
    spans = re.findall(r"`([^`\n]+)`", without_code(text))
    for line in [*fenced.splitlines(), *spans]:
        for words in re.findall(r"(?:^|[\s/])recsys-mtl ([^#|]*)", line):
            yield words.split()


@of(PAGES)
def test_every_job_and_option_that_is_shown_exists(page: Path) -> None:
    known = options()
    for words in commands(page):
        job = next((w for w in words if w in known), "")
        names = {w.split("=")[0] for w in words if re.match(r"--?[a-z]", w)}
        plain = [w for w in words if re.fullmatch(r"[a-z]+", w)]
        assert job or names or not plain, f"{page.name}: no job in `recsys-mtl {' '.join(words)}`"
        assert names <= known[job] | known[""], f"{page.name}: {' '.join(words)}"


def test_every_option_of_the_nightly_script_exists() -> None:
    script = typer.Typer()
    script.command()(nightly)
    known = option_names(typer.main.get_command(script))
    for page in PAGES:
        for words in re.findall(r"nightly\.py((?:[^\n`]|\\\n)*)", page.read_text()):
            assert set(re.findall(r"(?<= )--[a-z]+", words)) <= known, f"{page.name}: {words}"


def containers(manifest: Any) -> Iterator[Document]:
    """Every container of a manifest, wherever it is."""
    if isinstance(manifest, dict):
        yield from manifest.get("containers", ())
    for value in manifest.values() if isinstance(manifest, dict) else manifest:
        if isinstance(value, dict | list):
            yield from containers(value)


def test_every_manifest_is_well_formed_and_runs_jobs_that_exist() -> None:
    shown = [block for page in PAGES for block in yaml_blocks(page, "yaml manifest")]
    manifests = [manifest for block in shown for manifest in yaml.safe_load_all(block)]
    assert all({"apiVersion", "kind", "metadata", "spec"} <= one.keys() for one in manifests)
    started = [one for manifest in manifests for one in containers(manifest)]
    jobs = [one["args"] for one in started if one["command"] == ["recsys-mtl"]]
    assert len(jobs) == 2
    for job, *words in jobs:
        assert {word for word in words if word.startswith("--")} <= options()[job]


@of(PAGES)
def test_every_option_in_the_text_exists(page: Path) -> None:
    spans = re.findall(r"`(--[a-z][\w\-]*)[^`\n]*`", without_code(page.read_text()))
    assert set(spans) - OTHERS <= set().union(*options().values()), page.name
