from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from recsys_mtl.config.combiner import CombinerConfig
from recsys_mtl.gradients import COMBINERS, Activation, Part, make_combiner
from recsys_mtl.gradients.cagt import CAGT
from recsys_mtl.wiring import combiner as built
from recsys_mtl.wiring.combiner import NamedCombiner, build_combiner
from tests.combiners import METHODS, WHOLE, other_options

TASKS, SEED = 3, 17
WEIGHT, BIAS = nn.Parameter(torch.zeros(2, 3, 5)), nn.Parameter(torch.zeros(2, 4))
PARTS: list[Part | Activation] = [
    Part("shared.0.weight", "shared.0", [(WEIGHT, 0)]),
    Part("shared.0.bias", "shared.0", [(BIAS, 0)]),
    Part("shared.1.weight", "shared.1", [(WEIGHT, 1)]),
    Part("shared.1.bias", "shared.1", [(BIAS, 1)]),
    Activation("embeddings", 7),
]
BLOCKS = {
    "all": ("all",),
    "expert": ("shared.0", "shared.1", "embeddings"),
    "parameter": tuple(part.name for part in PARTS),
    "fixed": ("shared.0.weight.0", "embeddings"),
}


def section(name: str, **keys: Any) -> CombinerConfig:
    actual: CombinerConfig = TypeAdapter(CombinerConfig).validate_python({"name": name, **keys})
    return actual


def build(name: str, **keys: Any) -> NamedCombiner:
    return build_combiner(section(name, **keys), PARTS, tasks=TASKS, seed=SEED)


def options_of(name: str, monkeypatch: pytest.MonkeyPatch, **keys: Any) -> dict[str, Any]:
    """The options that a method is made with."""
    calls: list[dict[str, Any]] = []
    usual = make_combiner

    def make(name: str, tasks: int, partition: Any, **options: Any) -> Any:
        calls.append(options)
        return usual(name, tasks, partition, **options)

    monkeypatch.setattr(built, "make_combiner", make)
    build(name, **keys)
    (options,) = calls
    return options


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_built_from_its_name_alone(name: str) -> None:
    actual = build(name)
    assert type(actual.combiner) is COMBINERS[name]
    assert actual.combiner.tasks == TASKS
    assert actual.blocks == BLOCKS["fixed" if name == "cagt" else "all"]
    assert actual.combiner.partition.widths == (15, 4, 15, 4, 7)
    assert actual.combiner.partition.blocks == len(actual.blocks)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", [name for name in METHODS if name not in WHOLE])
def test_every_block_of_every_method(name: str, block: str) -> None:
    actual = build(name, block=block)
    assert actual.blocks == BLOCKS[block]
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randn(TASKS, part.width, generator=generator) for part in PARTS]
    combined = actual.combiner.combine(rows, torch.ones(TASKS, dtype=torch.bool), step=0)
    assert combined.problem is None
    assert combined.diagnostics is not None
    assert combined.diagnostics.cosines.shape == (len(actual.blocks), TASKS, TASKS)


def test_the_size_of_fixed_blocks_arrives() -> None:
    actual = build("pcgrad", block="fixed", block_size=10)
    assert actual.blocks == (
        *("shared.0.weight.0", "shared.0.weight.1", "shared.1.weight.0", "shared.1.weight.1"),
        "embeddings",
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_option_arrives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = other_options(name)
    plain = section(name)
    assert all(getattr(plain, key) != value for key, value in keys.items())
    options = options_of(name, monkeypatch, **keys)
    options.pop("seed", None)
    assert options == keys


@pytest.mark.parametrize("name", METHODS)
def test_those_that_draw_get_the_seed_of_the_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = "seed" in inspect.signature(COMBINERS[name]).parameters
    assert options_of(name, monkeypatch).get("seed") == (SEED if draws else None)
    assert draws == (name in ("pcgrad", "gradvac", "graddrop", "random"))


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_those_of_the_method(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = inspect.signature(COMBINERS[name]).parameters
    options = options_of(name, monkeypatch)
    options.pop("seed", None)
    assert options == {key: parameters[key].default for key in options}


def test_cagt_has_the_settings_of_its_section() -> None:
    combiner = build("cagt", **other_options("cagt")).combiner
    assert isinstance(combiner, CAGT)
    assert {key: getattr(combiner, key) for key in other_options("cagt")} == other_options("cagt")


@pytest.mark.parametrize("name", METHODS)
def test_diagnostics_are_no_business_of_the_method(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options_of(name, monkeypatch, diagnostics=5) == options_of(name, monkeypatch)


def test_blocks_may_be_missing() -> None:
    parts = PARTS[:-1]
    actual = build_combiner(section("upgrad", block="expert"), parts, tasks=TASKS, seed=SEED)
    assert actual.blocks == ("shared.0", "shared.1")
