"""The step with a combiner: what is combined, what is left plain, and by which way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients import COMBINERS, Combined, Combiner
from recsys_mtl.model import MultiTaskNetwork, embeddings_plain
from recsys_mtl.model.embeddings_backend import _torchrec_obstacle
from recsys_mtl.training.all_rows import AllRows
from recsys_mtl.training.combining import CUT
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec
from tests.training.conftest import SGD, SPEC

CPU = torch.device("cpu")
NETWORKS: dict[str, dict[str, Any]] = {
    "ple": {},
    "mmoe": {"architecture": "mmoe", "task_experts": [{"kind": "mlp"}]},
    "shared_bottom": {"architecture": "shared_bottom", "task_experts": [{"kind": "mlp"}]},
    "single_task": {"architecture": "single_task"},
    "kinds of experts": {
        "shared_experts": [{"kind": "cross", "width": 9}, {"kind": "fm", "width": 12}],
        "task_experts": [{"kind": "fm", "width": 7}, {"kind": "cross", "width": 12}],
    },
    "members": {"members": 3},
    "two levels": {"levels": 2},
    "logit transfer": {"logit_transfer": [{"source": "click", "target": "value"}]},
}
READS = (("city", "sum"), ("device", "sum"), ("recent", "mean"))
ONE_PASS = [name for name in NETWORKS if name not in ("two levels", "logit transfer")]
NETWORKS |= {
    "aitm": {"architecture": "aitm"},
    "pepnet": {"architecture": {"name": "pepnet", "domain": ["device"], "prior": ["city", "x"]}},
    "home": {"architecture": "home"},
    "stem": {"architecture": "stem"},
    "stem, members": {"architecture": "stem", "members": 2},
}
Make = Callable[..., TrainingStep]


def gradients(step: TrainingStep, rows: Batch) -> dict[str, Tensor]:
    """Of every dense parameter, and what each table was moved by, after one step."""
    before = [table.detach().clone() for table in step.network.embeddings.weights()]
    assert step(rows).updated
    after = step.network.embeddings.weights()
    actual = {f"table {i}": b - a for i, (a, b) in enumerate(zip(after, before, strict=True))}
    for name, parameter in step.network.named_parameters():
        if parameter.grad is not None:
            actual[name] = parameter.grad.clone()
    return actual


def by_backward(step: TrainingStep, rows: Batch) -> tuple[list[Tensor], Tensor]:
    """(T, d) of each shared part and (T, B · P) at the cut, from one `.backward()` a task."""
    network = step.network
    leaf, *_ = leaves = network.cut(rows).leaf()
    outputs = network.forward_from(leaves, rows)
    losses, counts = step._losses(outputs, leaves, rows, AllRows.of(step.losses, rows))
    weighted = step.balancer.weighted(losses, counts > 0)
    parts = [(p, index) for _, _, p, index in network.shared_parameters()]
    of_parts: list[list[Tensor]] = []
    at_cut = []
    for loss in weighted:
        network.zero_grad()
        leaf.grad = None
        loss.backward(retain_graph=True)
        slices = [p.grad if i is None or p.grad is None else p.grad[i] for p, i in parts]
        of_parts.append(
            [
                torch.zeros_like(p if i is None else p[i]).flatten() if s is None else s.flatten()
                for (p, i), s in zip(parts, slices, strict=True)
            ]
        )
        at_cut.append(leaf.grad.flatten())
    network.zero_grad()
    return [torch.stack(rows) for rows in zip(*of_parts, strict=True)], torch.stack(at_cut)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The gradients that a combiner is given."""
    given: list[list[Tensor]] = []
    usual = Combiner.combine

    def combine(self: Combiner, rows: list[Tensor], present: Tensor, *, step: int) -> Combined:
        given.append([part.clone() for part in rows])
        return usual(self, rows, present, step=step)

    monkeypatch.setattr(Combiner, "combine", combine)
    return given


def warmed_up(step: TrainingStep, rows: Batch) -> TrainingStep:
    """The step after an epoch in which its transfer, if any, has measured these rows."""
    if step.transfer is not None:
        step.start_epoch(0)
        embedded = step.network.cut(rows).values()
        step.transfer.before(rows, embedded, torch.ones(4, dtype=torch.bool))
        step.start_epoch(1)
    return step


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rest", [{}, {"balancing": {"name": "uncertainty"}}], ids=["", "balanced"])
def test_a_sum_of_task_gradients_is_the_plain_step(
    step_of: Make, rows: Batch, network: str, rest: dict[str, Any]
) -> None:
    plain = gradients(step_of({"name": "sum"}, NETWORKS[network], **rest), rows)
    combined = step_of({"name": "sum", "diagnostics": 1}, NETWORKS[network], **rest)
    actual = gradients(combined, rows)
    assert combined.combining is not None
    assert actual.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(actual[name], gradient, atol=2e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    "adatt",
    [
        {"mechanism": "loss"},
        {"mechanism": "gradient", "measure": {"scope": "expert"}},
        {"mechanism": "borrow", "measure": {"name": "logit_correlation"}},
    ],
    ids=lambda section: section["mechanism"],
)
def test_it_comes_after_adatt(step_of: Make, rows: Batch, adatt: dict[str, Any]) -> None:
    section = {"warmup_epochs": 1, **adatt}
    plain = gradients(warmed_up(step_of({"name": "sum"}, adatt=section), rows), rows)
    step = warmed_up(step_of({"name": "sum", "diagnostics": 1}, adatt=section), rows)
    actual = gradients(step, rows)
    learned = dict(step.transfer.named_parameters())
    assert all(p.grad is not None for p in learned.values() if adatt["mechanism"] == "loss")
    for name, gradient in plain.items():
        torch.testing.assert_close(actual[name], gradient, atol=2e-6, rtol=2e-4, msg=name)
    if adatt["mechanism"] != "borrow":  # with plenty of labels nobody borrows
        off = step_of({"name": "sum"})
        without = gradients(off, rows)
        assert any(not torch.allclose(without[name], g, atol=1e-5) for name, g in plain.items())


@pytest.mark.parametrize("combiner", ["sum", "cagt"])  # the others: with sequences
@pytest.mark.parametrize("backend", ["plain", "torchrec"])
def test_a_shared_table_is_updated_once_a_step(
    config_of: Callable[..., Config], rows: Batch, combiner: str, backend: str
) -> None:
    """Its rows move by the learning rate times the sum of all gradients at the cut, once."""
    if backend == "torchrec" and _torchrec_obstacle(()):
        pytest.skip("torchrec does not import")
    reads = [TableSpec(name, 11, 4, pooling, table="place") for name, pooling in READS]
    shared = data_spec(numeric=3, tables=reads[:2], lists=reads[2:], tasks=SPEC.tasks)
    base = {"training": SGD | {"batch_size": 40}, "combiner": {"name": combiner}}
    step = build_step(
        config := config_of(**base), build_network(config, shared, backend=backend), CPU
    )
    calls: list[Tensor] = []
    embed = step.network.embed

    def watched(batch: Batch) -> tuple[Tensor, ...]:
        (pooled,) = embed(batch)
        pooled.register_hook(calls.append)
        return (pooled,)

    step.network.embed = watched  # type: ignore[method-assign]
    (table,) = step.network.embeddings.weights()
    twin = table.detach().clone().requires_grad_()
    assert step(rows).updated
    (gradient,) = calls
    ids, (entries, lengths) = [rows[name] for name, _ in READS[:2]], rows["recent"]
    means = [part.mean(0) if len(part) else part.sum(0) for part in (
        twin[own] for own in entries.split(lengths.tolist()))]  # fmt: skip
    pooled = torch.cat([twin[ids[0]], twin[ids[1]], torch.stack(means)], 1)
    pooled.backward(gradient)
    assert twin.grad is not None
    torch.testing.assert_close(table.detach(), (twin - 0.5 * twin.grad).detach())


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_combined_are_the_gradients_of_single_tasks(
    step_of: Make, rows: Batch, seen: list[list[Tensor]], network: str
) -> None:
    step = step_of({"name": "cagt", "block": "parameter"}, NETWORKS[network])
    parts, at_cut = by_backward(step, rows)
    assert step(rows).updated
    (given,) = seen
    assert step.combining.blocks[-1] == CUT
    assert len(given) == len(parts) + 1
    for mine, theirs in zip(given, [*parts, at_cut], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)
    assert all(part.any() for part in parts)


@pytest.mark.parametrize("network", ONE_PASS)
@pytest.mark.parametrize("block", ["all", "expert", "fixed"])
def test_the_fast_way_equals_the_generic_one(
    step_of: Make, rows: Batch, monkeypatch: pytest.MonkeyPatch, network: str, block: str
) -> None:
    section = {"name": "cagt", "block": block, "coefficient": 0.3, "threshold": 0.9}
    if block == "fixed":
        section["block_size"] = 50
    fast = gradients(step_of(section, NETWORKS[network]), rows)
    monkeypatch.setattr(MultiTaskNetwork, "tasks_are_separable", False)
    slow = gradients(step_of(section, NETWORKS[network]), rows)
    for name, gradient in slow.items():
        torch.testing.assert_close(fast[name], gradient, atol=2e-5, rtol=1e-3, msg=name)


def test_towers_gates_and_own_experts_keep_their_plain_gradient(step_of: Make, rows: Batch) -> None:
    plain = gradients(step_of({"name": "sum"}), rows)
    actual = gradients(step_of({"name": "mgda"}), rows)
    shared = {name for name in plain if ".shared_experts." in name or name.startswith("table")}
    assert len(shared) == 8 + 3
    for name, gradient in plain.items():
        assert torch.allclose(actual[name], gradient, atol=1e-6) == (name not in shared), name


@pytest.mark.parametrize(
    ("name", "network"),
    [
        *((name, "ple") for name in (*COMBINERS, "gradnorm")),
        *((name, "stem") for name in ("sum", "mgda")),
    ],
)
def test_tables_are_updated_exactly_once_a_step(
    step_of: Make,
    rows: Batch,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    network: str,
) -> None:
    if name == "gradnorm":
        step = step_of({"name": "sum"}, NETWORKS[network], balancing={"name": name})
    else:
        step = step_of({"name": name, "diagnostics": 1}, NETWORKS[network])
    updates = []
    original = embeddings_plain._SameWidth.update
    monkeypatch.setattr(
        embeddings_plain._SameWidth, "update", lambda *args: updates.append(1) or original(*args)
    )
    for number in range(3):
        assert step(rows, number).updated
    assert len(updates) == 3  # three steps, one width of tables


def test_the_cut_gets_the_combined_gradient(step_of: Make, rows: Batch) -> None:
    step = step_of({"name": "mgda"})
    parts, at_cut = by_backward(step, rows)
    everything = torch.cat([*parts, at_cut], 1).double()
    combiner = COMBINERS["mgda"](4, step.combining.combiner.partition)
    grams = (everything @ everything.T).unsqueeze(0)
    weights = combiner.weights(grams, tasks=torch.arange(4), step=0).squeeze(0)
    (leaf,) = leaves = step.network.cut(rows).leaf()
    penalty = step.network.forward_from(leaves, rows).penalty
    (of_penalty,) = torch.autograd.grad(penalty, leaf)
    wanted = (weights @ at_cut.double()).view_as(leaf) + of_penalty
    ids = rows["city"]
    before = step.network.embeddings.weights()[0].detach().clone()
    expected = before.double().index_add(0, ids, wanted[:, :4], alpha=-0.5)
    assert step(rows).updated
    moved = step.network.embeddings.weights()[0].double()
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-4)


def test_an_absent_task_is_left_out(step_of: Make, rows: Batch, seen: list[list[Tensor]]) -> None:
    labels = rows.labels.clone()
    labels[:, 1] = torch.nan
    step = step_of({"name": "cagt", "block": "expert"})
    assert step(replace(rows, labels=labels)).updated
    (given,) = seen
    assert not any(part[1].any() for part in given)
    diagnostics = step.combining.diagnostics()
    assert diagnostics["weights"]["segment"] is None
    assert diagnostics["pair_cosine"][1] == [None] * 4
    assert diagnostics["pair_cosine"][0][2] is not None


def test_a_batch_without_labels_is_harmless(step_of: Make, rows: Batch) -> None:
    step = step_of({"name": "cagt"})
    assert step(replace(rows, labels=torch.full_like(rows.labels, torch.nan))).updated
    assert all(torch.isfinite(p).all() for p in step.network.parameters())
    assert step.combining.diagnostics() is None


def test_fewer_rows_than_a_batch_say_the_same(
    step_of: Make, rows_of: Callable[..., Batch], seen: list[list[Tensor]]
) -> None:
    few = rows_of(23)
    step = step_of({"name": "cagt", "block": "expert"})
    _, at_cut = by_backward(step, few)
    assert step(few).updated
    (given,) = seen
    width = at_cut.shape[1]
    assert given[-1].shape[1] == 40 * 12
    torch.testing.assert_close(given[-1][:, :width], at_cut, atol=1e-6, rtol=1e-4)
    assert not given[-1][:, width:].any()


def test_a_task_gradient_that_is_not_finite_skips_the_step(step_of: Make, rows: Batch) -> None:
    step = step_of({"name": "upgrad"})
    before = {name: value.clone() for name, value in step.network.state_dict().items()}
    usual = step.network.forward_from

    def forward_from(leaves: Sequence[Tensor], batch: Batch, *, by_task: bool) -> Any:
        outputs = usual(leaves, batch, by_task=by_task)
        outputs.logits["click"].register_hook(lambda g: torch.full_like(g, torch.nan))
        return outputs

    step.network.forward_from = forward_from  # type: ignore[method-assign]
    result = step(rows)
    assert not result.updated
    assert "tasks [0] are not finite" in result.problem
    assert int(step.combining.combiner.skipped) == 1
    now = step.network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in before.items())
    step.network.forward_from = usual  # type: ignore[method-assign]
    assert step(rows).updated
    assert step.combining.diagnostics()["skipped"] == 1


@pytest.mark.parametrize("name", ["cagt", "nash_mtl"])
def test_loss_scaling_changes_nothing_but_the_scale(step_of: Make, rows: Batch, name: str) -> None:
    plain, scaled = step_of({"name": name}), step_of({"name": name})
    scaled._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert plain(rows).updated
    assert scaled(rows).updated
    for key, value in scaled.network.state_dict().items():
        assert torch.allclose(value, plain.network.state_dict()[key], atol=1e-6), key


def test_bf16_agrees(step_of: Make, rows: Batch) -> None:
    section = {"name": "config", "block": "expert"}
    exact = gradients(step_of(section), rows)
    training = SGD | {"batch_size": 40, "precision": "bf16"}
    actual = gradients(step_of(section, training=training), rows)
    ours = torch.cat([actual[name].flatten() for name in exact])
    theirs = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert torch.cosine_similarity(ours, theirs, 0) > 0.995


def test_the_number_of_the_step_reaches_the_method(step_of: Make, rows: Batch) -> None:
    step = step_of({"name": "cagt"})
    step(rows, 3)
    early = step.combining.diagnostics()["extra"]["lambda"]
    step(rows, 700)
    assert early == pytest.approx(0.3)
    assert step.combining.diagnostics()["extra"]["lambda"] == pytest.approx(0.2)


def test_diagnostics_of_a_sum_are_taken_when_due(step_of: Make, rows: Batch) -> None:
    step = step_of({"name": "sum", "diagnostics": 3, "block": "expert"})
    for number in range(7):
        assert step(rows, number).updated
    diagnostics = step.combining.diagnostics()
    assert diagnostics["steps"] == 3
    assert list(diagnostics["conflict_ratio"]) == ["shared.0", "shared.1", CUT]
    assert all(0 <= ratio <= 1 for ratio in diagnostics["conflict_ratio"].values())
    assert all(ratio == pytest.approx(1) for ratio in diagnostics["length_ratio"].values())
    assert diagnostics["weights"] == dict.fromkeys(step.network.task_names, 1.0)
    assert step.combining.diagnostics() is None


@pytest.mark.parametrize("levels", [1, 2])
def test_frozen_gates_are_left_alone(step_of: Make, rows: Batch, levels: int) -> None:
    step = step_of({"name": "cagt"}, {"levels": levels})
    gates = step.network.ple.gate_parameters()
    for gate in gates:
        gate.requires_grad_(False)
    assert step(rows).updated
    assert all(gate.grad is None for gate in gates)
