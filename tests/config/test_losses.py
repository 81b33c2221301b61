"""`loss: focal`, `loss: {name: focal, gamma: 2}` and the flat `gamma: 2` next to it."""

from __future__ import annotations

import pytest

from recsys_mtl.config import Config, config_from_yaml, dump_config
from recsys_mtl.config.losses import BceConfig, FocalConfig, HuberConfig, MseConfig
from recsys_mtl.errors import UserError


def read(click: str = "", spend: str = "", *overrides: str) -> Config:
    text = f"""
name: shop
data: {{path: rows.parquet}}
features: {{age: {{kind: numeric}}}}
tasks:
  click: {{kind: binary{click}}}
  spend: {{kind: regression{spend}}}
"""
    return config_from_yaml(text, where="a.yaml", overrides=overrides)


FOCAL = FocalConfig(name="focal", gamma=3.0, alpha=0.25)


@pytest.mark.parametrize(
    ("click", "overrides", "loss"),
    [
        ("", [], BceConfig()),
        (", loss: bce", [], BceConfig()),
        (", loss: {name: bce}", [], BceConfig()),
        (", loss: focal", [], FocalConfig(name="focal")),
        (", loss: {name: focal, gamma: 3}", [], FOCAL),
        (", loss: focal, gamma: 3", [], FOCAL),
        (", loss: {name: focal}, gamma: 3", [], FOCAL),
        # a default that is spelt out, as configs of before are dumped
        (", loss: bce, gamma: 2.0, alpha: 0.25", [], BceConfig()),
        ("", ["tasks.click.loss=focal", "tasks.click.gamma=3"], FOCAL),
        ("", ["tasks.click.loss.name=focal", "tasks.click.loss.gamma=3"], FOCAL),
        (", loss: focal", ["tasks.click.loss.gamma=3"], FOCAL),
        (", loss: {name: focal, gamma: 4}", ["tasks.click.gamma=3"], FOCAL),
        (", loss: {name: focal, gamma: 4}", ["tasks.click.loss=bce"], BceConfig()),
    ],
)
def test_spellings_of_one_loss(click: str, overrides: list[str], loss: object) -> None:
    config = read(click, "", *overrides)
    assert config.tasks["click"].loss == loss
    dumped = dump_config(config)
    assert "gamma: null" not in dumped
    assert config_from_yaml(dumped, where="dumped") == config


def test_spellings_of_huber() -> None:
    assert read().tasks["spend"].loss == MseConfig()
    for spend in (", loss: huber, delta: 2", ", loss: {name: huber, delta: 2}"):
        assert read("", spend).tasks["spend"].loss == HuberConfig(name="huber", delta=2.0)


@pytest.mark.parametrize(
    ("click", "problem"),
    [
        (
            ", loss: focl",
            "a.yaml:6: tasks.click.loss: unknown choice; expected one of bce, focal; "
            "found \"focl\" -> did you mean 'focal'?",
        ),
        (
            ", loss: {name: focl}",
            "a.yaml:6: tasks.click.loss.name: unknown choice; expected one of bce, focal; "
            "found \"focl\" -> did you mean 'focal'?",
        ),
        (
            ", loss: huber",
            "a.yaml:6: tasks.click.loss: unknown choice; expected one of bce, focal; "
            'found "huber" -> use one of: bce, focal',
        ),
        (
            ", loss: 3",
            "a.yaml:6: tasks.click.loss: wrong type; expected a name or a mapping; found 3",
        ),
        (
            ", loss: {gamma: 3}",
            "a.yaml:6: tasks.click.loss.name: missing key; expected one of bce, focal",
        ),
        (
            ", loss: {name: focal, gama: 3}",
            "a.yaml:6: tasks.click.loss.gama: unknown key -> did you mean 'gamma'?",
        ),
        (
            ", loss: focal, gamma: -1",
            "a.yaml:6: tasks.click.loss.gamma: value out of range; expected at least 0.0; found -1",
        ),
        (
            ", gamma: 3",
            "a.yaml:6: tasks.click.gamma: unknown key -> since version 0.1.0 it is "
            "tasks.click.loss.gamma, which is no key here",
        ),
        (
            ", loss: {name: focal, gamma: 3}, gamma: 4",
            "a.yaml:6: tasks.click.gamma: given twice: the key is tasks.click.loss.gamma since "
            "version 0.1.0 -> drop tasks.click.gamma",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(click: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        read(click)
    assert str(error.value) == problem
