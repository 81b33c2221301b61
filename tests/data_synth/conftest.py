"""Plans, worlds and blocks that several tests look at, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from data_synth import Plan, load_plan
from data_synth.block import RowBlock, draw_block
from data_synth.world import World

settings.register_profile("seeded", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("seeded")

Worlds = Callable[..., World]
Blocks = Callable[..., list[RowBlock]]

# Every kind of task, clean and with label noise; rows are independent of each other.
KINDS = """
name: kinds
seed: 3
customers: {rows_each: 1, persistence: 0, nuisance: 1}
period: {days: 56}
features: {numeric: 6, categorical: [10], items: [200], lists: [50]}
tasks:
  click: {kind: binary, rate: 0.2}
  click_noisy: {kind: binary, rate: 0.2, label_noise: 0.3}
  bought: {kind: binary, rate: 0.4, only_after: click, label_noise: 0.1}
  kept: {kind: complement, of: click}
  kept_noisy: {kind: complement, of: click_noisy}
  segment: {kind: multiclass, classes: 5}
  segment_noisy: {kind: multiclass, classes: 5, label_noise: 0.3}
  normal: {kind: regression, mean: 2, spread: 3}
  normal_noisy: {kind: regression, label_noise: 0.3}
  lognormal: {kind: regression, distribution: lognormal, mean: 1, spread: 0.5, r2: 0.6}
  lognormal_noisy: {kind: regression, distribution: lognormal, spread: 0.5, label_noise: 0.3}
  unit: {kind: regression, distribution: unit}
  unit_noisy: {kind: regression, distribution: unit, label_noise: 0.3}
  merchant: {kind: retrieval, items: 40}
  merchant_noisy: {kind: retrieval, items: 40, label_noise: 0.5}
relations: {between: 0.2}
"""

# As little as a plan can be, for tests that write folders.
SMALL = """
name: small
customers: {nuisance: 1}
period: {days: 61}
features: {numeric: 3, categorical: [10], items: [200], lists: [20]}
tasks:
  click: {kind: binary, rate: 0.2}
  buy: {kind: binary, rate: 0.3, only_after: click}
  stay: {kind: complement, of: click}
  segment: {kind: multiclass, classes: 3, labelled: 0.5}
  spend: {kind: regression, distribution: lognormal}
  shop: {kind: retrieval, items: 12}
relations: {between: 0.2}
"""


@pytest.fixture(scope="session")
def plan_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The plans above as files, by name."""
    folder = tmp_path_factory.mktemp("plans")
    files = {name: folder / f"{name}.yaml" for name in ("kinds", "small")}
    files["kinds"].write_text(KINDS)
    files["small"].write_text(SMALL)
    return files


@pytest.fixture(scope="session")
def plan_of(plan_files: dict[str, Path]) -> Callable[..., Plan]:
    """A preset or one of the plans above, with overrides."""

    def load(name: str, *overrides: str) -> Plan:
        return load_plan(plan_files.get(name, name), overrides)

    return load


@pytest.fixture(scope="session")
def world_of(plan_of: Callable[..., Plan]) -> Worlds:
    """The world of a plan, made once."""
    return cache(lambda name, *overrides: World.of(plan_of(name, *overrides)))


@pytest.fixture(scope="session")
def blocks_of(world_of: Worlds) -> Blocks:
    """The first blocks of a plan, drawn once."""

    @cache
    def block(number: int, name: str, *overrides: str) -> RowBlock:
        return draw_block(world_of(name, *overrides), number)

    def blocks(count: int, name: str, *overrides: str) -> list[RowBlock]:
        return [block(number, name, *overrides) for number in range(count)]

    return blocks


@pytest.fixture
def edit(tmp_path: Path, plan_files: dict[str, Path]) -> Callable[..., Path]:
    """A file of the small plan with pieces of its text exchanged."""

    def write(**changes: str) -> Path:
        text = plan_files["small"].read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return path

    return write
