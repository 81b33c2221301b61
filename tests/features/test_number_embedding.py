from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor

from recsys_mtl.config import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.features.block import Numbers
from recsys_mtl.features.number_embedding import EmbeddingSettings, NumberEmbedding
from recsys_mtl.features.numeric import NumericFeature
from recsys_mtl.features.numeric_columns import NumericColumns, NumericSpec
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.export import save_export
from recsys_mtl.serving.exported import load_export
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.toy import Toy

LINEAR, PLAIN = EmbeddingSettings(3), EmbeddingSettings(2, "none")
PERIODIC = EmbeddingSettings(4, frequencies=5, sigma=0.5)


def _module(*features: tuple[int, int, EmbeddingSettings | None]) -> NumericColumns:
    """Of features with so many encoded columns, bins and an embedding."""
    torch.manual_seed(1)
    return NumericColumns(
        [
            NumericSpec(f"x{index}", "numeric", width, bins=bins, embedding=settings)
            for index, (width, bins, settings) in enumerate(features)
        ]
    )


def _read(module: NumericColumns, encoded: Tensor, widths: list[int]) -> Tensor:
    names = {f"x{index}": width for index, width in enumerate(widths)}
    return module({Numbers.layout: Numbers(encoded, names)})


def test_a_linear_layer_of_its_own_for_each_number() -> None:
    module = _module((2, 4, LINEAR), (1, 0, None), (1, 2, LINEAR), (2, 0, PLAIN), (1, 0, LINEAR))
    encoded = torch.randn(6, 7) * 2
    actual = _read(module, encoded, [2, 1, 1, 2, 1])
    assert module.widths == (1, 3, 3, 3, 2)
    own = torch.stack([(encoded[:, 0] - t).clamp(0, 1) for t in range(4)], 1)
    own[:, 0] = encoded[:, 0].clamp(-10, 1)
    own[:, 3] = (encoded[:, 0] - 3).clamp(0, 10)
    two = torch.stack([encoded[:, 3].clamp(-10, 1), (encoded[:, 3] - 1).clamp(0, 10)], 1)
    inputs = [torch.cat([own, encoded[:, 1:2]], 1), two, encoded[:, 6:]]
    linear, plain = module.embeddings
    expected = [encoded[:, 2:3]]
    for number, columns in enumerate(inputs):
        weight = linear.weight[number, : columns.shape[1]]
        expected.append((columns @ weight + linear.bias[number]).relu())
    expected.append(encoded[:, 4:6] @ plain.weight[0] + plain.bias[0])
    torch.testing.assert_close(actual, torch.cat(expected, 1))
    (actual**2).sum().backward()
    assert not linear.weight.grad[1:, 2:].any()
    assert linear.weight.grad[0].any()


def test_it_starts_as_a_linear_layer_of_its_inputs() -> None:
    torch.manual_seed(0)
    weight = NumberEmbedding(EmbeddingSettings(200), [49, 4]).weight.detach()
    assert weight[0].abs().max() == pytest.approx(1 / 7, rel=0.01)
    assert weight[1, :4].abs().max() == pytest.approx(1 / 2, rel=0.01)
    assert not weight[1, 4:].any()
    periodic = NumberEmbedding(EmbeddingSettings(1, frequencies=5000, sigma=0.3), [1])
    assert float(periodic.frequencies.detach().std()) == pytest.approx(0.3, rel=0.05)


def test_periodic_is_sines_and_cosines_a_linear_layer_and_relu() -> None:
    module = _module((1, 0, PERIODIC), (2, 0, PERIODIC)).requires_grad_(False)
    encoded = torch.randn(6, 3)
    actual = _read(module, encoded, [1, 2])
    (layer,) = module.embeddings
    for row, (first, second, missing) in enumerate(encoded.tolist()):
        for number, (x, others) in enumerate([(first, [0.0]), (second, [missing])]):
            angles = [2 * math.pi * float(f) * x for f in layer.frequencies[number]]
            read = [*map(math.sin, angles), *map(math.cos, angles), *others]
            for d in range(4):
                total = float(layer.bias[number, d])
                total += sum(
                    v * float(w) for v, w in zip(read, layer.weight[number, :, d], strict=True)
                )
                expected = pytest.approx(max(total, 0.0), abs=1e-5)
                assert float(actual[row, number * 4 + d]) == expected


def _config(toy: Toy, **sections: Any) -> Config:
    document = toy.document() | sections
    linear = {"name": "linear", "dim": 3}
    document["features"]["age"] |= {"transform": "piecewise", "embedding": linear}
    document["features"]["income"] |= {"embedding": {"name": "periodic", "sigma": 0.3}}
    return Config.model_validate(document)


def test_the_settings_are_those_of_the_config_and_stored(shared_toy: Toy) -> None:
    config = _config(shared_toy)
    features = [
        NumericFeature.of(name, config.features[name], default_dim=0) for name in ("age", "income")
    ]
    assert [f.embedding for f in features] == [
        EmbeddingSettings(3),
        EmbeddingSettings(16, frequencies=48, sigma=0.3),
    ]
    for feature in features:
        assert NumericFeature.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature


def _step(config: Config) -> tuple[TrainingStep, Any]:
    prepared = prepare(config)
    torch.manual_seed(0)
    network = build_network(config, prepared.preprocessor.spec)
    return build_step(config, network, torch.device("cpu")), prepared


@pytest.mark.slow
@pytest.mark.parametrize(
    "sections",
    [
        {"combiner": {"name": "cagt", "block": "parameter"}},
        {"combiner": {"name": "mgda"}},
        {"adatt": {"mechanism": "gradient", "measure": {"rows": 16, "interval": 1}}},
        {"training": {"device": "cpu", "precision": "bf16", "batch_size": 64, "threads": 1}},
    ],
)
def test_its_parameters_are_shared_and_trained(toy: Toy, sections: dict[str, Any]) -> None:
    step, prepared = _step(_config(toy, **sections))
    names = {
        f"inputs.numeric.embeddings.{index}.{name}"
        for index, names in enumerate([("weight", "bias"), ("frequencies", "weight", "bias")])
        for name in names
    }
    assert {name for name, *_ in step.network.input_parameters()} == names
    before = {n: p.detach().clone() for n, p in step.network.named_parameters() if n in names}
    for number, batch in enumerate(prepared.loaders["train"].epoch(0)):
        assert step(batch, number).updated
    for name, parameter in step.network.named_parameters():
        assert name not in names or not torch.equal(parameter, before[name]), name


@pytest.mark.slow
def test_it_is_saved_loaded_and_exported(toy: Toy, tmp_path: Path) -> None:
    train(_config(toy), toy.run)
    predictor = load_bundle(toy.run / "model")
    rows = toy.rows()
    batch = predictor.preprocessor.encode(rows, labels=False)
    other = predictor.predict(rows.with_columns(income=pl.col("income") * 2))
    assert not other["click"].equals(predictor.predict(rows)["click"])
    save_export(toy.run / "model", tmp_path / "program")
    pin = hashlib.sha256((tmp_path / "program/manifest.json").read_bytes()).hexdigest()
    exported = load_export(tmp_path / "program", pin=pin).run(batch)
    torch.testing.assert_close(exported["click"], predictor.raw_outputs(batch)["click"])
