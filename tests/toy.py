"""A small data set with every kind of feature and task, and a model trained on it."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from threadpoolctl import threadpool_limits

from recsys_mtl.config import Config, load_config
from recsys_mtl.runs.train import train

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Document = dict[str, Any]

DOCUMENT: Document = {
    "name": "toy",
    "data": {
        "path": "toy.parquet",
        "split": {"kind": "fraction", "valid": 0.2, "test": 0.25},
        "ignore": ["customer", "day"],
        "weight": "importance",
    },
    "features": {
        "age": {"kind": "numeric", "transform": "standardize"},
        "income": {"kind": "numeric", "transform": "log1p"},
        "city": {"kind": "categorical"},
        "seen": {"kind": "categorical_list", "max_length": 3},
    },
    "tasks": {
        "click": {"kind": "binary"},
        "buy": {"kind": "binary", "only_where": "click == 1"},
        "band": {"kind": "multiclass", "classes": ["high", "low", "mid"]},
        "spend": {"kind": "regression"},
        "item": {"kind": "retrieval", "dim": 4},
    },
    "model": {
        "embedding": {"dim": 4, "backend": "plain"},
        "shared_experts": [{"kind": "mlp", "hidden": [8]}],
        "task_experts": [{"kind": "mlp", "hidden": [6]}],
        "tower": {"hidden": [5]},
        "tower_dropout": 0.0,  # it would now and then leave nothing of so narrow a tower
    },
    "training": {"recipe": "none", "device": "cpu", "epochs": 2, "batch_size": 64, "threads": 1},
    "evaluation": {"top_k": [1, 3]},
    "tracking": {"enabled": False},
}


def toy_rows(count: int = 500, seed: int = 0) -> pl.DataFrame:
    """Rows with nulls in features and labels; labels depend on the features."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=count)
    city = np.array(["bern", "oslo", "rome"])[rng.integers(0, 3, count)]
    click = state + rng.normal(size=count) > 0
    seen = [[f"m{m}" for m in rng.integers(0, 9, n)] for n in rng.integers(0, 5, count)]
    frame = pl.DataFrame(
        {
            "customer": rng.integers(0, count // 4, count),
            "day": np.datetime64("2024-01-01") + rng.integers(0, 60, count),
            "importance": rng.choice([0.5, 1.0, 2.0], count),
            "age": 40 + 10 * state + rng.normal(size=count),
            "income": np.exp(state + rng.normal(size=count)),
            "city": city,
            "seen": seen,
            "click": click.astype(np.int64),
            "buy": (click & (rng.random(count) < 0.4)).astype(np.int64),
            "band": np.array(["low", "mid", "high"])[np.digitize(state, [-0.5, 0.5])],
            "spend": 1 + 0.3 * state + 0.1 * (city == "oslo"),
            "item": np.array(["a", "b", "c", "d"])[rng.integers(0, 4, count)],
        }
    )
    gaps = {"age": 0.1, "city": 0.1, "seen": 0.1, "band": 0.2, "spend": 0.2, "item": 0.1}
    return frame.with_columns(
        pl.when(pl.Series(rng.random(count) >= share)).then(pl.col(name)).alias(name)
        for name, share in gaps.items()
    )


@dataclass(frozen=True)
class Toy:
    """A folder with toy.parquet and toy.yaml, and the run trained from them if there is one."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "toy.parquet"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def rows(self) -> pl.DataFrame:
        """All raw rows."""
        return pl.read_parquet(self.data)

    def document(self) -> Document:
        """The config as plain values, to be changed at will."""
        document = copy.deepcopy(DOCUMENT)
        document["data"]["root"] = str(self.folder)
        return document

    def write(self, document: Document) -> Path:
        """Write toy.yaml."""
        path = self.folder / "toy.yaml"
        path.write_text(yaml.dump(document, sort_keys=False, Dumper=_Dumper))
        return path

    def config(self, *overrides: str) -> Config:
        """The config, with overrides such as `training.epochs=1`."""
        return load_config(self.write(self.document()), overrides)


@cache
def _parquet() -> bytes:
    """The rows as they are in every test's folder."""
    file = io.BytesIO()
    toy_rows().write_parquet(file)
    return file.getvalue()


def make_toy(folder: Path) -> Toy:
    toy = Toy(folder)
    toy.data.write_bytes(_parquet())
    toy.write(toy.document())
    return toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """Data and config of the test's own."""
    return make_toy(tmp_path)


@pytest.fixture(scope="session")
def shared_toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Data and config for tests that change neither."""
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def trained(shared_toy: Toy) -> tuple[Toy, Document]:
    """The shared data with a run trained on them, and the run's result."""
    return shared_toy, train(shared_toy.config(), shared_toy.run)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """OpenMP's threads wait for each other at every split: a busy machine is 50 times slower."""
    with threadpool_limits(1, "openmp"):
        yield
