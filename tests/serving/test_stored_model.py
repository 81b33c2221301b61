"""Models that earlier versions stored load and predict: names and JSON of what was fitted stay."""

from __future__ import annotations

import json

import polars as pl
import pytest
import torch

from recsys_mtl.config import config_from_yaml
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.wiring.network import build_network

CONFIG = """
name: stored
data: {path: rows.parquet}
features:
  age: {kind: numeric, transform: standardize, bins: 16}
  pay: {kind: numeric, transform: piecewise, bins: 2}
  city: {kind: categorical, encoding: vocabulary, buckets: null, min_count: 1, max_size: null,
    dim: null, null_values: []}
  seen: {kind: categorical_list, encoding: hash, buckets: 3, min_count: 1, max_size: null, dim: 2,
    null_values: [], pooling: mean, max_length: 2, separator: null}
tasks:
  click: {kind: binary, label: null, weight: 1.0, only_where: null, null_values: [], positive: null,
    loss: bce, gamma: 2.0, alpha: 0.25}
model:
  architecture: shared_bottom
  embedding: {dim: 4, backend: plain}
  shared_experts: [{kind: mlp, count: 1, hidden: [3]}]
  tower: {hidden: []}
"""

STORED = """
{"features": [
  {"kind": "numeric", "column": "age", "transform": "standardize", "bins": 16, "median": 40.0,
   "mean": 42.0, "sd": 10.0, "edges": [], "constant": false, "indicator": true},
  {"kind": "numeric", "column": "pay", "transform": "piecewise", "bins": 2, "median": 2.0,
   "mean": 2.0, "sd": 1.0, "edges": [0.0, 2.0, 4.0], "constant": false, "indicator": false},
  {"kind": "categorical", "column": "city", "dim": 4,
   "coder": {"kind": "vocabulary", "null_values": [], "min_count": 1, "max_size": null,
             "values": ["bern", "oslo"]}},
  {"kind": "categorical_list", "column": "seen", "dim": 2,
   "coder": {"kind": "hash", "null_values": [], "buckets": 3}, "pooling": "mean", "max_length": 2,
   "separator": null}],
 "labels": {"click": {"kind": "binary", "column": "click", "task": "click", "positive": null,
   "null_values": [], "rate": 0.25}},
 "only_where": {}, "weight": null}
"""

NAMES = [
    "embeddings.embedding_bags.t_city.weight",
    "embeddings.embedding_bags.t_seen.weight",
    "ple.levels.0.shared_experts.experts.0.linears.0.weight",
    "ple.levels.0.shared_experts.experts.0.linears.0.bias",
    "ple.levels.0.shared_experts.experts.0.norms.0.weight",
    "ple.levels.0.shared_experts.experts.0.norms.0.bias",
]


def test_it_loads_and_encodes_and_predicts_as_it_did(caplog: pytest.LogCaptureFixture) -> None:
    config = config_from_yaml(CONFIG, where="stored/config.yaml")
    assert len(caplog.messages) == 1
    assert "features.pay.bins is called features.pay.transform.bins since" in caplog.messages[0]
    preprocessor = Preprocessor.from_dict(json.loads(STORED))
    stored = json.loads(STORED)
    stored["features"][3]["coder"]["one_spelling"] = False  # buckets stay as they were
    for feature in stored["features"]:
        feature["name"] = feature["column"]
        if feature["kind"] == "numeric":
            feature |= {"null_values": [], "embedding": None}
        else:
            feature["of_table"] = ""
    stored["labels"]["click"]["through"] = None
    assert preprocessor.to_dict() == stored
    network = build_network(config, preprocessor.spec)
    weights = network.state_dict()
    assert [name for name in weights if not name.startswith("towers.")] == NAMES
    assert weights[NAMES[0]].shape == (4, 4)
    assert weights[NAMES[1]].shape == (5, 2)
    rows = pl.DataFrame(
        {
            "age": [32.0, None],
            "pay": [3.0, 0.5],
            "city": ["oslo", "rome"],
            "seen": [["a", None, "b"], []],
        }
    )
    batch = preprocessor.encode(rows, labels=False)
    numbers = torch.cat([batch["age"], batch["pay"]], 1)
    assert numbers.tolist() == [[-1.0, 0.0, 1.5], [-0.20000000298023224, 1.0, 0.25]]
    bins = torch.tensor([[-1.0, 0.0, 1.0, 0.5], [-0.2, 1.0, 0.25, 0.0]])
    assert batch["city"].tolist() == [3, 0]
    ids, lengths = batch["seen"]
    assert lengths.tolist() == [2, 0]
    assert ids[1] == 1
    tables = weights[NAMES[0]], weights[NAMES[1]]
    pooled = torch.stack(
        [
            torch.cat([tables[0][3], tables[1][ids].mean(0)]),
            torch.cat([tables[0][0], torch.zeros(2)]),
        ]
    )
    inputs = network.inputs_of(network.embed(batch), batch)
    torch.testing.assert_close(inputs, torch.cat([pooled, bins], 1))
    assert Predictor(config, preprocessor, network).predict(rows).columns == ["click"]
