"""A small untrained model of all task kinds through the real classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recsys_mtl.config.load import config_from_yaml
from recsys_mtl.config.schema import Config
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.serving import Predictor, save_bundle
from recsys_mtl.wiring.network import build_network

CONFIG = """
name: tiny
data: {path: rows.parquet}
features:
  city: {kind: categorical}
  customer: {kind: categorical, encoding: hash, buckets: 11, dim: 3}
  member: {kind: categorical}
  visited: {kind: categorical_list, max_length: 4}
  bought: {kind: categorical_list, dim: 5}
  tags: {kind: categorical_list, separator: "|"}
  age: {kind: numeric, transform: {name: piecewise, bins: 5}}
  history: {kind: numeric, transform: quantile}
tasks:
  click: {kind: binary}
  plan: {kind: multiclass}
  spend: {kind: regression, transform: log1p}
  next: {kind: retrieval, dim: 7}
model:
  embedding: {dim: 4, backend: plain}
  shared_experts: [{kind: mlp, count: 3, hidden: [9, 6]}]
  task_experts: [{kind: mlp, count: 2, hidden: [9, 6]}]
  tower: {hidden: [8]}
evaluation: {top_k: [1, 3]}
tracking: {uri: "http://user:s3cret@server"}
"""


@dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    config: Config
    preprocessor: Preprocessor
    network: MultiTaskNetwork
    rows: pl.DataFrame
    predictor: Predictor


def raw_rows(count: int, seed: int) -> pl.DataFrame:
    """Rows with missing values in every column, integer ids and lists."""
    g = np.random.default_rng(seed)

    def holes(values: list[object]) -> list[object]:
        return [None if g.random() < 0.2 else value for value in values]

    def lists(names: list[object]) -> list[object]:
        return [
            [names[i] for i in g.integers(0, len(names), g.integers(0, 6))] for _ in range(count)
        ]

    return pl.DataFrame(
        {
            "city": holes(g.choice(["Bern", "Köln", "Linz"], count).tolist()),
            "customer": holes(g.integers(2**53, 2**53 + 500, count).tolist()),
            "member": holes((g.random(count) < 0.5).tolist()),
            "visited": holes(lists([3, 5, 8, None])),
            "bought": holes(lists(["tea", "ink", None])),
            "tags": holes(g.choice(["a|b", "b", ""], count).tolist()),
            "age": holes(g.integers(18, 90, count).tolist()),
            "history": holes(g.normal(size=count).tolist()),
            "click": g.integers(0, 2, count),
            "plan": g.choice(["free", "basic", "pro 2"], count),
            "spend": g.exponential(20.0, count),
            "next": g.integers(100, 106, count),
        },
        strict=False,
    )


@pytest.fixture(scope="session")
def trained() -> Trained:
    config = config_from_yaml(CONFIG, where="tiny.yaml")
    rows = raw_rows(300, 1)
    preprocessor = Preprocessor.fit(
        [rows], config.features, config.tasks, weight=None, default_dim=config.model.embedding.dim
    )
    torch.manual_seed(5)
    network = build_network(config, preprocessor.spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return Trained(config, preprocessor, network, rows, Predictor(config, preprocessor, network))


@pytest.fixture(scope="session")
def bundle(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_bundle(folder, trained.config, trained.preprocessor, trained.network.state_dict())
    return folder
