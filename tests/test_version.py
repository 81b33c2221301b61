from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from recsys_mtl.reports.output import envelope
from recsys_mtl.version import NOT_INSTALLED, installed_version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def test_the_version_is_that_of_the_metadata() -> None:
    assert installed_version() == metadata.version("recsys-mtl")


def test_results_are_written_where_the_package_is_only_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert envelope("train", started=datetime.now(UTC))["version"] == NOT_INSTALLED


def test_every_place_that_repeats_the_version_agrees() -> None:
    version, citation = PROJECT["version"], yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version  # type: ignore[index]
    assert f"recsys-mtl      {version}\n" in (ROOT / "docs/guide.md").read_text()


def test_the_citation_is_complete() -> None:
    """Keys that the Citation File Format 1.2 requires, and types of the others."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    required = {"cff-version", "message", "title", "authors"}
    optional = {"type", "abstract", "version", "license", "keywords"}
    assert required <= citation.keys() <= required | optional
    assert all(isinstance(value, str) for value in citation.values() if not isinstance(value, list))
    assert citation["authors"] == PROJECT["authors"]
    assert (citation["type"], citation["license"]) == ("software", PROJECT["license"])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_issue_forms_ask_something(form: Path) -> None:
    document = yaml.safe_load(form.read_text())
    if form.stem == "config":
        return
    assert document.keys() == {"name", "description", "labels", "body"}
    ids = [field["id"] for field in document["body"]]
    assert len(ids) == len({*ids})
    assert all(field["attributes"]["label"] for field in document["body"])
    assert {field["type"] for field in document["body"]} <= {"textarea", "checkboxes", "input"}


def test_extras_are_documented() -> None:
    guide = (ROOT / "docs/guide.md").read_text()
    assert [name for name in PROJECT["optional-dependencies"] if f"[{name}]`" not in guide] == []
