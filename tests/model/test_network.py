from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.model import embeddings_backend
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.grouped import HiddenLayers
from recsys_mtl.model.network import MultiTaskNetwork, NetworkSpec, Outputs
from tests.encoded import data_spec, encoded

BACKENDS = ["plain", *(() if embeddings_backend._torchrec_obstacle(()) else ("torchrec",))]
DATA = data_spec(
    tables=(TableSpec("city", 9, 4), TableSpec("age.band", 5, 8)),
    lists=(TableSpec("brands", 7, 4, "mean"),),
    numeric=3,
    tasks=(
        TaskSpec("ctr", "binary", 1, prior=(0.1,)),
        TaskSpec("stage", "multiclass", 4, prior=(0.1, 0.2, 0.3, 0.4)),
        TaskSpec("next.item", "retrieval", 5, items=6),
    ),
)
NO_DROPOUT = dict.fromkeys(("layers", "tower_layers"), HiddenLayers(dropout=0.0))
SPEC = NetworkSpec(
    shared_experts=(ExpertGroup(count=2, hidden=(7, 6)),),
    task_experts=(ExpertGroup(count=4, hidden=(8, 6)),),
    tower_hidden=(5, 3),
)
OTHERS: dict[str, dict[str, Any]] = {
    "aitm": {"options": {"chain": ("stage", "ctr"), "calibrator": 0.5, "calibrated": ()}},
    "pepnet": {
        "options": {"domain": ("city",), "prior": ("age.band", "x"), "hidden": 3},
        "task_experts": (ExpertGroup(hidden=(8, 6)),),
    },
    "home": {"options": {"loras": 2, "rank": 3}, "groups": {"g": ("ctr", "next.item")}},
    "stem": {},
}
"""Architectures that are no relatives of PLE, and what they need."""
OTHERS = {name: {"architecture": name, **changes} for name, changes in OTHERS.items()}
OF_TASK = {"ctr": 0, "stage": 1, "next.item": 2}


def network(spec: NetworkSpec = SPEC, **rest: object) -> MultiTaskNetwork:
    torch.manual_seed(0)
    return MultiTaskNetwork(DATA, spec, backend="plain", **rest)


def batch(rows: int = 11) -> Batch:
    g = torch.Generator().manual_seed(1)
    lengths = torch.randint(0, 4, (rows, 1), generator=g)
    return encoded(
        DATA,
        numeric=torch.randn(rows, 3, generator=g),
        ids=torch.randint(0, 5, (rows, 2), generator=g),
        lists=(torch.randint(0, 7, (int(lengths.sum()),), generator=g),),
        lengths=lengths,
        labels=torch.zeros(rows, 3),
    )


def total(outputs: Outputs) -> torch.Tensor:
    return sum(value.square().sum() for value in outputs.logits.values()) + outputs.penalty


@pytest.mark.parametrize("rows", [1, 11])
@pytest.mark.parametrize("architecture", ["ple", "mmoe", "shared_bottom", "single_task"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_every_architecture_trains(architecture: str, levels: int, rows: int) -> None:
    net = network(NetworkSpec(**{**vars(SPEC), "architecture": architecture, "levels": levels}))
    outputs = net(batch(rows))
    shapes = {task: tuple(value.shape) for task, value in outputs.logits.items()}
    assert shapes == {"ctr": (rows, 1), "stage": (rows, 4), "next.item": (rows, 5)}
    (total(outputs) + sum(net.item_vectors("next.item")).sum()).backward()
    assert [n for n, p in net.named_parameters() if "embedding" not in n and p.grad is None] == []
    names = net.expert_names["stage"]
    own = [f"stage.{i}" for i in range(4)] if architecture in ("ple", "single_task") else []
    shared = [] if architecture == "single_task" else ["shared.0", "shared.1"]
    assert list(names) == own + shared
    if architecture == "shared_bottom":
        assert outputs.gates == {}
        assert outputs.penalty == 0
    else:
        assert {t: tuple(g.shape) for t, g in outputs.gates.items()} == {
            task: (rows, len(names)) for task in OF_TASK
        }
    assert len(net.shared_expert_parameters()) == len(shared) * levels


@pytest.mark.parametrize("rows", [1, 11])
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_architecture_trains(name: str, rows: int) -> None:
    net = network(NetworkSpec(**{**vars(SPEC), **OTHERS[name]}))
    outputs = net(batch(rows))
    shapes = {task: tuple(value.shape) for task, value in outputs.logits.items()}
    assert shapes == {"ctr": (rows, 1), "stage": (rows, 4), "next.item": (rows, 5)}
    (total(outputs) + sum(net.item_vectors("next.item")).sum()).backward()
    assert [n for n, p in net.named_parameters() if "embedding" not in n and p.grad is None] == []
    assert {task: g.shape[1] for task, g in outputs.gates.items()} == (
        {} if name == "pepnet" else {task: len(n) for task, n in net.expert_names.items()}
    )
    assert not net.tasks_are_separable


def test_shared_bottom_of_one_expert_is_one_network() -> None:
    spec = NetworkSpec(
        **{**vars(SPEC), "architecture": "shared_bottom", **NO_DROPOUT},
    )
    net = network(NetworkSpec(**{**vars(spec), "shared_experts": (ExpertGroup(hidden=(7, 6)),)}))
    rows = batch()
    x = torch.cat([*net.embed(rows), rows["x"]], 1)
    bottom = net.ple.levels[0].shared_experts(x)[0, 0]
    want = net.towers(bottom.expand(3, -1, -1))
    for task, value in net(rows).logits.items():
        torch.testing.assert_close(value, want[task])


def test_single_task_networks_share_only_the_tables() -> None:
    net = network(NetworkSpec(**{**vars(SPEC), "architecture": "single_task", "levels": 2}))
    net(batch()).logits["stage"].square().sum().backward()
    for name, p in net.ple.named_parameters():
        used = p.grad.view(3, -1).abs().sum(1) > 0
        assert used.tolist() == [False, True, False], name


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_task_s_tables_learn_from_it_alone(backend: str) -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(**{**vars(SPEC), **NO_DROPOUT, **OTHERS["stem"]})
    net = MultiTaskNetwork(
        DATA, spec, backend=backend, table_optimizer="sgd", table_learning_rate=0.1
    )
    rows, names = batch(), [table.name for table in net.embeddings.tables]
    assert names[:4] == ["city", "age.band", "brands", "city@ctr"]
    before = [w.detach().clone() for w in net.embeddings.weights()]
    cut = net.cut(rows)
    outputs = net.forward_from(cut.leaf(), rows)
    outputs.logits["stage"].square().sum().backward()
    shared, own = (leaf.grad for leaf in cut.leaf())
    assert (own.view(11, 3, 16).abs().sum((0, 2)) > 0).tolist() == [False, True, False]
    cut.spend()
    moved = dict(zip(names, net.embeddings.weights(), strict=True))
    changed = [n for n, old in zip(names, before, strict=True) if not torch.equal(moved[n], old)]
    assert changed == [*names[:3], "city@stage", "age.band@stage", "brands@stage"]
    for name, gradient in (("city", shared[:, :4]), ("city@stage", own[:, 16:20])):
        want = before[names.index(name)].index_add(0, rows["city"], gradient, alpha=-0.1)
        torch.testing.assert_close(moved[name].detach(), want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cut_gives_one_table_update(backend: str) -> None:
    spec = NetworkSpec(**{**vars(SPEC), **NO_DROPOUT})
    torch.manual_seed(0)
    net = MultiTaskNetwork(
        DATA, spec, backend=backend, table_optimizer="sgd", table_learning_rate=0.1
    )
    rows = batch()
    before = [w.detach().clone() for w in net.embeddings.weights()]
    cut = net.cut(rows)
    (leaf,) = cut.leaf()
    outputs = net.forward_from(cut.leaf(), rows)
    for task in OF_TASK:
        outputs.logits[task].square().sum().backward(retain_graph=True)
    outputs.penalty.backward()
    assert all(torch.equal(a, b) for a, b in zip(before, net.embeddings.weights(), strict=True))
    cut.spend()
    want = before[0].clone()
    for b in range(11):
        want[rows["city"][b]] -= 0.1 * leaf.grad[b, :4]
    torch.testing.assert_close(net.embeddings.weights()[0].detach(), want, atol=1e-6, rtol=1e-5)
    after = [w.detach().clone() for w in net.embeddings.weights()]
    net.eval()
    with torch.no_grad():
        net(rows)
    assert all(torch.equal(a, b) for a, b in zip(after, net.embeddings.weights(), strict=True))


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_in_half_precision_are_close(name: str) -> None:
    net, rows = network(NetworkSpec(**{**vars(SPEC), **NO_DROPOUT, **OTHERS[name]})), batch(64)
    exact = net(rows)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(rows)
    for task, value in half.logits.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact.logits[task], atol=0.2, rtol=0.2)
    total(half).backward()
    assert all(p.grad.dtype == torch.float32 for p in net.ple.parameters())


@pytest.mark.parametrize("levels", [1, 2])
def test_entropy_is_the_mean_over_rows_tasks_and_levels(levels: int) -> None:
    spec = NetworkSpec(
        **{**vars(SPEC), "levels": levels, "gate_entropy": 0.3, "layers": HiddenLayers(dropout=0.0)}
    )
    net = network(spec)
    rows = batch()
    outputs = net(rows)
    gates = [g.detach() for g in net.ple(torch.cat([*net.embed(rows), rows["x"]], 1)).weights]
    entropies = [-sum(w * math.log(w) for w in row) for g in gates for k in g.tolist() for row in k]
    assert len(entropies) == levels * 3 * 11
    assert outputs.gate_entropy.item() == pytest.approx(sum(entropies) / len(entropies), rel=1e-5)
    assert outputs.penalty.item() == pytest.approx(-0.3 * sum(entropies) / len(entropies), rel=1e-5)
    for task, index in OF_TASK.items():
        torch.testing.assert_close(outputs.gates[task], gates[-1][index])


def test_penalty_pushes_gates_towards_equal_weights() -> None:
    net = network(NetworkSpec(**{**vars(SPEC), "preferred": {"ctr": ["shared.0"]}}))
    optimizer = torch.optim.SGD(net.dense_parameters(), lr=10.0)
    rows = batch()
    before = net(rows).gate_entropy
    net(rows).penalty.backward()
    optimizer.step()
    assert net(rows).gate_entropy > before


def test_dense_parameters_are_all_but_the_tables() -> None:
    net = network()
    dense = {id(p) for p in net.dense_parameters()}
    assert len(dense) == len(net.dense_parameters())
    names = {n for n, p in net.named_parameters() if id(p) not in dense}
    tables = {f"embeddings.embedding_bags.t_{n}.weight" for n in ("city", "age%2Eband", "brands")}
    assert names == tables
    assert any(n.startswith("items.") for n, p in net.named_parameters() if id(p) in dense)


def test_evaluation_is_deterministic_and_seeds_decide() -> None:
    first, second = network(), network()
    rows = batch()
    assert not torch.equal(first(rows).logits["ctr"], first(rows).logits["ctr"])
    first.eval()
    second.eval()
    assert torch.equal(first(rows).logits["ctr"], first(rows).logits["ctr"])
    assert torch.equal(first(rows).logits["ctr"], second(rows).logits["ctr"])


def test_state_dict_round_trip() -> None:
    spec = NetworkSpec(**{**vars(SPEC), "logit_transfer": (("ctr", "stage"),), "levels": 2})
    first = network(spec).eval()
    torch.manual_seed(5)
    second = MultiTaskNetwork(DATA, spec, backend=BACKENDS[-1]).eval()
    rows = batch()
    assert not torch.equal(first(rows).logits["stage"], second(rows).logits["stage"])
    second.load_state_dict(first.state_dict())
    for task, value in first(rows).logits.items():
        torch.testing.assert_close(second(rows).logits[task], value, atol=1e-6, rtol=1e-6)


def test_queries_and_items_are_unit_vectors() -> None:
    net = network().eval()
    query = net(batch()).logits["next.item"]
    scores = net.scores("next.item", query)
    assert scores.shape == (11, 6)
    torch.testing.assert_close(query.norm(dim=1), torch.ones(11))
    items = net.items["i_next%2Eitem"]
    want = query[2] @ items[4] / items[4].norm()
    torch.testing.assert_close(scores[2, 4], want)


def test_untrained_network_predicts_near_the_prior() -> None:
    logits = network().eval()(batch()).logits["ctr"]
    assert logits.sigmoid().mean().item() == pytest.approx(0.1, abs=0.08)


def test_bfloat16_autocast_is_close() -> None:
    spec = NetworkSpec(**{**vars(SPEC), **NO_DROPOUT, "levels": 2})
    net = network(spec)
    rows = batch(64)
    exact = net(rows)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(rows)
    for task, value in half.logits.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact.logits[task], atol=0.05, rtol=0.05)
    assert half.penalty.dtype == torch.float32
    total(half).backward()
    assert all(p.grad.dtype == torch.float32 for p in net.ple.parameters())


def test_numeric_only() -> None:
    data = data_spec(numeric=3, tasks=DATA.tasks)
    net = MultiTaskNetwork(data, SPEC)
    rows = encoded(data, numeric=torch.randn(4, 3), labels=torch.zeros(4, 3))
    cut = net.cut(rows)
    total(net.forward_from(cut.leaf(), rows)).backward()
    cut.spend()
    assert net.embeddings.state_dict() == {}


@pytest.mark.slow  # compiles
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiles_without_graph_breaks() -> None:
    spec = NetworkSpec(**{**vars(SPEC), **NO_DROPOUT})
    net = network(spec)
    rows = batch()
    embedded = net.cut(rows).values()
    compiled = torch.compile(net.forward_from, backend="eager", fullgraph=True)
    for task, value in compiled(embedded, rows).logits.items():
        torch.testing.assert_close(value, net.forward_from(embedded, rows).logits[task])
