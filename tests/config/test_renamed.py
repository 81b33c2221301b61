"""Renamed keys: the rule on an invented table, and the real table against the schema."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from recsys_mtl.ablation.plan import Ablation
from recsys_mtl.config import Config, config_from_yaml
from recsys_mtl.config import renamed as module
from recsys_mtl.config.renamed import RENAMED, Renamed
from recsys_mtl.config.shape import inner, sections
from recsys_mtl.errors import UserError

TABLE = (
    Renamed("steps", "training.epochs", "0.4.0", "0.6.0"),
    Renamed("features.*.size", "features.*.dim", "0.4.0", "0.6.0", stored=8),
    Renamed("model.shared_experts.*.number", "model.shared_experts.*.count", "0.5.0", "0.7.0"),
)
CONFIG = """
name: toy
data: {path: rows}
features:
  age: {kind: numeric%s}
  city: {kind: categorical%s}
  town: {kind: categorical}
tasks:
  click: {kind: binary}
"""


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENAMED", {"Config": TABLE})
    version(monkeypatch, "0.5.2")


def version(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(module, "installed_version", lambda: version)
    module._warn.cache_clear()


def read(age: str = "", city: str = "", rest: str = "", *overrides: str) -> Config:
    return config_from_yaml(CONFIG % (age, city) + rest, where="a.yaml", overrides=overrides)


def dim(config: Config, feature: str = "city") -> Any:
    return config.features[feature].model_dump()["dim"]


@pytest.mark.parametrize("installed", ["0.5.2", "not installed"])
def test_an_old_key_works_with_one_warning(
    installed: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version(monkeypatch, installed)
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        config = read("", ", size: 3", "  other: {kind: binary, label: click2}\nsteps: 7\n")
        assert (dim(config), config.training.epochs) == (3, 7)
    assert config == read("", ", dim: 3", "  other: {kind: binary, label: click2}\n",
                          "training.epochs=7")  # fmt: skip
    assert caplog.messages == [
        "a.yaml:11: steps is called training.epochs since version 0.4.0 -> rename it; "
        "version 0.6.0 ends with an error",
        "a.yaml:6: features.city.size is called features.city.dim since version 0.4.0 -> "
        "rename it; version 0.6.0 ends with an error",
    ]


@pytest.mark.parametrize("installed", ["0.6.0", "1.0.0"])
def test_a_removed_key_is_an_error_that_names_the_new_one(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(monkeypatch, installed)
    with pytest.raises(UserError) as error:
        read("", ", size: 3", "", "steps=7", "features.town.size=3", "training.epochs=x")
    removed = "unknown key since version 0.6.0 -> write"
    assert [str(problem) for problem in error.value.problems[:3]] == [
        f"a.yaml:6: features.city.size: {removed} features.city.dim",
        f"--set steps=7: steps: {removed} training.epochs",
        f"--set features.town.size=3: features.town.size: {removed} features.town.dim",
    ]
    assert "training.epochs: wrong type" in str(error.value.problems[3])


@pytest.mark.parametrize(
    ("city", "rest", "problem"),
    [
        (
            ", size: 3, dim: 3",
            "",
            "a.yaml:6: features.city.size: given twice: the key is features.city.dim since "
            "version 0.4.0 -> drop features.city.size",
        ),
        (
            "",
            "steps: 0",
            "a.yaml:10: training.epochs: value out of range; expected more than 0; found 0",
        ),
        ("", "model: {shared_experts: {number: 3}}",
         "a.yaml:10: model.shared_experts: wrong type; expected a list of mappings; found "
         '{"number": 3}'),
    ],
)  # fmt: skip
def test_mistakes_of_old_keys(city: str, rest: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        read("", city, rest)
    assert str(error.value) == problem


@pytest.mark.parametrize("shape", ["features: {age: [1, 2]}", "features: [1]", "model: [1]"])
def test_a_list_where_keys_belong_is_a_mistake_of_the_file(shape: str) -> None:
    with pytest.raises(UserError, match="wrong type"):
        config_from_yaml(f"name: toy\ndata: {{path: rows}}\n{shape}\n", where="a.yaml")


def test_where_the_new_key_is_not_known_the_old_one_is_not_either() -> None:
    with pytest.raises(UserError, match=r"features\.age\.size: unknown key"):
        read(", size: 3")
    assert dim(read(", size: 8", ", size: null")) is None  # what was stored without effect


def test_lists_and_shared_mappings_are_followed(caplog: pytest.LogCaptureFixture) -> None:
    experts = "model:\n  shared_experts:\n  - {kind: mlp, number: 3}\n  - {kind: mlp, number: 2}\n"
    counts = [expert.count for expert in read("", "", experts).model.shared_experts]
    assert counts == [3, 2]
    assert "model.shared_experts.0.number (and 1 more) is called" in caplog.text
    same = CONFIG.replace("categorical%s}", "categorical, size: 3}").replace(
        "city: {", "city: &one {"
    ).replace("town: {kind: categorical}", "town: *one")  # fmt: skip
    config = config_from_yaml(same % "", where="a.yaml")
    assert (dim(config), dim(config, "town")) == (3, 3)


@pytest.mark.parametrize(
    ("city", "overrides", "dims"),
    [
        (", dim: 4", ["features.city.size=3"], [3, None]),
        (", size: 4", ["features.city.dim=3"], [3, None]),
        (", size: 4", ["features.city={kind: categorical, size: 5}"], [5, None]),
        (", size: 4", ["features.town.kind=categorical"], [4, None]),
        ("", ["features.*.size=6"], [6, 6]),
    ],
)
def test_an_override_counts_however_either_is_spelt(
    city: str, overrides: list[str], dims: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    config = read("", city, "", *overrides)
    assert [dim(config), dim(config, "town")] == dims
    if "size" in overrides[0]:
        assert f"--set {overrides[0]}: features." in caplog.messages[-1]


def keys(root: Any, path: str) -> bool:
    """Whether some choice of sections has the path."""
    annotations: list[Any] = [root]
    for part in path.split("."):
        if part == "*":
            annotations = [inner(annotation) for annotation in annotations]
            continue
        known = [section for a in annotations for section in sections(a).values()]
        fields = [section.model_fields.get(part) for section in known]
        annotations = [field.annotation for field in fields if field is not None]
    return bool(annotations)


def test_the_real_table_fits_the_schema_and_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/reference.md").read_text()
    roots = {"Config": Config, "Ablation": Ablation}
    for name, entries in RENAMED.items():
        for entry in entries:
            assert keys(roots[name], entry.new), entry
            assert Version(entry.since) < Version(entry.removed)
            line = f"| `{entry.old}` | `{entry.new}` | {entry.since} | {entry.removed} |"
            assert line in page
            assert entry.old.count("*") == entry.new.count("*")
        assert len({entry.old for entry in entries}) == len(entries)
