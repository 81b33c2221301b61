from __future__ import annotations

from typing import Any

import pytest

from recsys_mtl.config import Config, config_from_yaml, dump_config
from recsys_mtl.errors import UserError

CONFIG = """
name: toy
data: {path: rows}
features:
  age: {kind: numeric%s}
  city: {kind: categorical}
tasks:
  click: {kind: binary}
"""


def age(text: str = "", *overrides: str) -> dict[str, Any]:
    config = config_from_yaml(CONFIG % text, where="a.yaml", overrides=overrides)
    assert config_from_yaml(dump_config(config), where="dumped") == config
    section: dict[str, Any] = config.features["age"].model_dump()
    return section


@pytest.mark.parametrize(
    "text",
    [
        ", transform: piecewise, bins: 32",
        ", transform: {name: piecewise, bins: 32}",
        ", transform: {name: piecewise}, bins: 32",
    ],
)
def test_bins_beside_the_transform_or_in_it_are_the_same(text: str) -> None:
    assert age(text)["transform"] == {"name": "piecewise", "bins": 32}


def test_a_transform_is_a_name_or_a_mapping() -> None:
    assert age()["transform"] == {"name": "piecewise", "bins": 48}
    assert age(", transform: log1p")["transform"] == {"name": "log1p"}
    assert age(", transform: piecewise")["transform"] == {"name": "piecewise", "bins": 48}


def test_an_embedding_is_a_name_or_a_mapping() -> None:
    assert age()["embedding"] is None
    assert age(", embedding: linear", "features.age.embedding.dim=5")["embedding"] == {
        "name": "linear", "dim": 5, "activation": "relu"
    }  # fmt: skip
    assert age(", transform: none, embedding: {name: periodic, sigma: 0.1}")["embedding"] == {
        "name": "periodic", "dim": 16, "frequencies": 48, "sigma": 0.1
    }  # fmt: skip


def test_overrides_know_both_spellings() -> None:
    for written in (", transform: piecewise", ", transform: {name: piecewise, bins: 4}"):
        for key in ("bins", "transform.bins"):
            assert age(written, f"features.age.{key}=8")["transform"]["bins"] == 8
    assert age(", transform: {name: piecewise, bins: 4}", "features.age.transform=none")[
        "transform"
    ] == {"name": "none"}


def test_values_need_no_quotes() -> None:
    text = CONFIG.replace("kind: binary", "kind: binary, positive: [1, true, x], null_values: [-1]")
    config = config_from_yaml(text % ", null_values: [-999, 1.5, unknown]", where="a.yaml")
    assert config.features["age"].null_values == ["-999", "1.5", "unknown"]
    assert config.tasks["click"].positives == ["1", "true", "x"]
    assert config.tasks["click"].null_values == ["-1"]
    assert config_from_yaml(dump_config(config), where="dumped") == config


def test_a_config_that_was_dumped_flat_loads() -> None:
    """Defaults of every key were spelt out, `bins` under every transform."""
    assert age(", transform: quantile, bins: 16")["transform"] == {"name": "quantile"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ", transform: none, bins: 8",
            r"a\.yaml:5: features\.age\.bins: unknown key -> since .*age\.transform\.bins",
        ),
        (", transform: log", r"features\.age\.transform: unknown choice.*did you mean 'log1p'"),
        (", transform: {name: log1p, bins: 8}", r"features\.age\.transform\.bins: unknown key"),
        (", transform: {name: piecewise, bins: 8}, bins: 4", r"features\.age\.bins: given twice"),
        (
            ", transform: piecewise, bins: 1",
            r"5: features\.age\.transform\.bins: value out of range",
        ),
        (", transform: {name: piecewise, bins: 1}", r"transform\.bins: value out of range"),
        (
            ", transform: piecewise, embedding: periodic",
            r"features\.age: embedding periodic needs transform standardize, quantile or log1p",
        ),
        (", embedding: linaer", r"features\.age\.embedding: unknown choice.*'linear'"),
        (", embedding: {name: linear, sigma: 1}", r"features\.age\.embedding\.sigma: unknown key"),
    ],
)
def test_wrong_transforms(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        age(text)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("dim: autos", r"features\.city\.dim: .*expected .*auto.*found \"autos\""),
        ("min_count: 0", r"features\.city\.min_count: "),
        ("encoding: hash, buckets: 9, unknown_dropout: 0.25", r"needs encoding: vocabulary"),
        ("encoding: id, rows: 9, unknown_dropout: 0.25", r"needs encoding: vocabulary"),
        ("encoding: id", r"encoding id needs rows"),
        ("encoding: hash, buckets: 9, rows: 9", r"rows belongs to encoding: id"),
        ("encoding: id, rows: 9, buckets: 9", r"buckets belongs to encoding: hash"),
        ("unknown_dropout: -1", r"city\.unknown_dropout: value out of range; expected at least 0"),
    ],
)
def test_wrong_tables(keys: str, message: str) -> None:
    text = CONFIG.replace("city: {kind: categorical", f"city: {{kind: categorical, {keys}")
    with pytest.raises(UserError, match=message) as caught:
        config_from_yaml(text % "", where="a.yaml")
    assert len(caught.value.problems) == 1


def test_raw_is_the_column_without_encoding() -> None:
    config: Config = config_from_yaml(CONFIG % ", transform: log1p", where="a.yaml")
    age, city = config.features.values()
    assert age.raw().model_dump()["transform"] == {"name": "none"}
    assert city.raw() is city
    assert [f.has_table for f in (age, city)] == [False, True]
