"""Sequences in a step: one update of a shared table, and encoders below the cut."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.sequences import EncoderSettings, SequenceSpec
from recsys_mtl.columns.spec import DataSpec, TableSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.features.block import SequenceIds
from recsys_mtl.gradients import COMBINERS
from recsys_mtl.model.embeddings_backend import _torchrec_obstacle
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec
from tests.training.conftest import SPEC, make_rows

CPU = torch.device("cpu")
SGD = {
    "tables": {"name": "sgd", "learning_rate": 0.5},
    "optimizer": {"clip_norm": None, "warmup": 0.0},
    "batch_size": 40,
}
MEAN, DIN = {"name": "mean"}, {"name": "din", "hidden": [5]}


def spec_of(encoder: dict[str, Any]) -> DataSpec:
    """City, device and two sequences share a table; the sequences meet the city."""
    tables = [TableSpec(name, 11, 4, table="place") for name in ("city", "device")]
    lists = [TableSpec("recent", 9, 4, "mean")]
    base = data_spec(numeric=3, tables=tables, lists=lists, tasks=SPEC.tasks)
    settings = EncoderSettings(**encoder)
    target = "" if encoder["name"] == "mean" else "city"
    sequences = tuple(
        SequenceSpec(
            name,
            "sequence",
            tables=(TableSpec(name, 11, 4, "none", table="place"),),
            encoder=settings,
            max_length=4,
            target=target,
        )
        for name in ("went", "liked")
    )
    return replace(base, features=(*base.features, *sequences))


def rows_with_sequences(count: int = 40) -> Batch:
    rows, g = make_rows(count), torch.Generator().manual_seed(5)
    lengths = torch.randint(0, 5, (count, 2), generator=g)
    values = {
        name: torch.randint(0, 11, (int(lengths[:, m].sum()),), generator=g)
        for m, name in enumerate(("went", "liked"))
    }
    return replace(rows, blocks={**rows.blocks, "sequence": SequenceIds(values, lengths)})


def step_of(config: Config, spec: DataSpec, backend: str = "plain") -> TrainingStep:
    if backend == "torchrec" and _torchrec_obstacle(()):
        pytest.skip("torchrec does not import")
    torch.manual_seed(3)
    return build_step(config, build_network(config, spec, backend=backend), CPU)


@pytest.mark.parametrize("combiner", [*COMBINERS])
@pytest.mark.parametrize("backend", ["plain", pytest.param("torchrec", marks=pytest.mark.slow)])
def test_tables_and_encoders_learn_once_from_the_gradient_at_the_cut(
    config_of: Callable[..., Config], combiner: str, backend: str
) -> None:
    rows = rows_with_sequences()
    config = config_of(training=SGD, combiner={"name": combiner})
    step = step_of(config, spec_of(DIN), backend)
    network, calls, embed = step.network, list[Tensor](), step.network.embed

    def watched(batch: Batch) -> tuple[Tensor, ...]:
        (embedded,) = embed(batch)
        embedded.register_hook(calls.append)
        return (embedded,)

    network.embed = watched  # type: ignore[method-assign]
    tables = dict(zip(("place", "recent"), network.embeddings.weights(), strict=True))
    place, recent = (table.detach().clone().requires_grad_() for table in tables.values())
    encoders = copy.deepcopy(network.sequences)
    assert step(rows).updated
    (gradient,) = calls
    entries, lengths = rows["recent"]
    lists = [recent[own] for own in entries.split(lengths.tolist())]
    means = torch.stack([part.sum(0) / max(len(part), 1) for part in lists])
    pooled = torch.cat([place[rows["city"]], place[rows["device"]], means], 1)
    looked_up = [place[rows[name][0]] for name in ("went", "liked")]
    torch.cat([pooled, *encoders(pooled, looked_up, rows.blocks)], 1).backward(gradient)
    assert place.grad is not None
    torch.testing.assert_close(tables["place"].detach(), (place - 0.5 * place.grad).detach())
    own = dict(network.sequences.named_parameters())
    for name, parameter in encoders.named_parameters():
        torch.testing.assert_close(own[name].grad, parameter.grad, msg=name)
    assert any(parameter.grad.any() for parameter in own.values() if parameter.grad is not None)


@pytest.mark.parametrize(
    "adatt", [{"mechanism": "loss"}, {"mechanism": "gradient"}, {"mechanism": "borrow"}]
)
def test_adatt_measures_above_it(config_of: Callable[..., Config], adatt: dict[str, Any]) -> None:
    measure = {"rows": 16, "interval": 1}
    if adatt["mechanism"] == "borrow":
        measure |= {"name": "logit_correlation"}
    step = step_of(config_of(adatt=adatt | {"measure": measure}, training=SGD), spec_of(DIN))
    for epoch in range(2):
        step.start_epoch(epoch)
        assert step(rows_with_sequences(), epoch).updated


@pytest.mark.parametrize(
    "encoder",
    [DIN, {"name": "mha", "dim": 6, "heads": 2}, {"name": "transformer", "dim": 4, "layers": 2}],
    ids=lambda encoder: encoder["name"],
)
def test_members_and_bfloat16(config_of: Callable[..., Config], encoder: dict[str, Any]) -> None:
    config = config_of(training=SGD | {"precision": "bf16"})
    model = config.model.model_copy(update={"members": 3})
    step = step_of(config.model_copy(update={"model": model}), spec_of(encoder))
    before = [p.detach().clone() for p in step.network.sequences.parameters()]
    assert step(rows_with_sequences()).updated
    after = step.network.sequences.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_mean_equals_a_list(config_of: Callable[..., Config]) -> None:
    """The sequence's vector is what mean pooling of the same list gives."""
    rows, network = rows_with_sequences(), build_network(config_of(), spec_of(MEAN))
    (embedded,) = network.embed(rows)
    (place, _) = network.embeddings.weights()
    ids, lengths = rows["went"]
    means = [part.mean(0) if len(part) else part.sum(0) for part in (
        place[own] for own in ids.split(lengths.tolist()))]  # fmt: skip
    torch.testing.assert_close(embedded[:, 12:16], torch.stack(means))
