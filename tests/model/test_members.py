"""Members against a slow literal version: one network after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.losses import Candidates, ItemLoss, TaskLoss, TaskLosses, pointwise
from recsys_mtl.model.grouped import GroupedLinear
from recsys_mtl.model.members import Members
from recsys_mtl.model.network import MultiTaskNetwork, NetworkSpec
from recsys_mtl.tasks import kind_of
from tests.model.test_network import DATA, NO_DROPOUT, OTHERS, SPEC, batch, network

K = 3
SPECS: dict[str, dict[str, Any]] = {
    "ple": {},
    "two levels": {"levels": 2},
    "mmoe": {"architecture": "mmoe"},
    "shared_bottom": {"architecture": "shared_bottom"},
    "single_task": {"architecture": "single_task"},
    "logit transfer": {"logit_transfer": (("ctr", "stage"),)},
    **OTHERS,
}


def with_members(name: str, members: int = K) -> MultiTaskNetwork:
    return network(NetworkSpec(**{**vars(SPEC), **NO_DROPOUT, **SPECS[name], "members": members}))


def alone(net: MultiTaskNetwork, name: str, member: int) -> MultiTaskNetwork:
    """The network that one member is, without members."""
    one = with_members(name, 1)
    state = net.state_dict()
    scale = state.pop("members.scale")[:, net.members.feature]
    for key, value in state.items():
        if key.startswith("towers.heads."):
            state[key] = value[member]
    one.load_state_dict(state)
    scaled = one.ple.forward
    one.ple.forward = lambda x, own=None: scaled(  # type: ignore[method-assign]
        x * scale[member], None if own is None else own * scale[member]
    )
    return one


@pytest.mark.parametrize("name", SPECS)
def test_a_member_is_a_network_of_its_own(name: str) -> None:
    net, rows = with_members(name), batch()
    apart = name != "home"  # its batch norm is that of all members' rows
    with torch.no_grad():
        net.members.scale.mul_(torch.rand_like(net.members.scale))
        each = [alone(net, name, member).train(apart)(rows) for member in range(K)]
        trained = net(rows) if apart else None
        predicted = net.eval()(rows)
    for task in DATA.tasks:
        outputs = torch.stack([one.logits[task.name] for one in each])
        if trained is not None:
            torch.testing.assert_close(net.members.split(trained.logits[task.name]), outputs)
        merged = kind_of(task.kind).merged(outputs)
        torch.testing.assert_close(predicted.logits[task.name], merged)
    for task, weights in predicted.gates.items():
        torch.testing.assert_close(weights, torch.stack([one.gates[task] for one in each]).mean(0))


def test_a_factor_is_of_a_feature_and_one_member_has_none() -> None:
    torch.manual_seed(0)
    members = Members(64, [[4], [1, 3]])
    assert members.scale is not None
    assert members.scale.shape == (64, 3)
    assert set(members.scale.unique().tolist()) == {-1.0, 1.0}
    assert len({tuple(row.tolist()) for row in members.scale}) == 8
    scaled = members.split(members(torch.ones(2, 8)))
    expected = members.scale[5].repeat_interleave(torch.tensor([4, 1, 3]))
    torch.testing.assert_close(scaled[5, 1], expected)
    assert "members.scale" not in with_members("ple", 1).state_dict()


@pytest.mark.parametrize("outputs", [3, 40])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_first_layer_by_feature_is_that_of_each_member(
    outputs: int, precision: torch.dtype
) -> None:
    """Few outputs are multiplied by feature, many by member."""
    torch.manual_seed(0)
    members = Members(3, [[4, 4, 6], [], [6]])
    columns = [torch.randn(5, 14, requires_grad=True), torch.randn(5, 0), torch.randn(5, 6)]
    inputs = members.of_columns(columns)
    layer = GroupedLinear(2, 20, outputs)
    sources = [columns[0], *layer.parameters(), *members.parameters()]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        made = layer(inputs)
        literal = layer(members(torch.cat(columns, 1)))
    assert made.dtype == literal.dtype == precision
    tolerance = {} if precision == torch.float32 else {"rtol": 0.02, "atol": 0.05}
    torch.testing.assert_close(made, literal, **tolerance)
    weights = torch.randn_like(literal)
    pairs = zip(*(torch.autograd.grad(v, sources, weights) for v in (made, literal)), strict=True)
    for own, expected in pairs:
        torch.testing.assert_close(
            own, expected, **({} if not tolerance else {"rtol": 0.05, "atol": 0.2})
        )


def test_the_loss_is_the_mean_of_the_members_losses() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[1.0, 2.0], [0.0, torch.nan], [1.0, 0.0], [torch.nan, 3.0]])
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
    items = Candidates.of(labels[:, 1].nan_to_num(0).long(), torch.randn(6, 5))
    losses = TaskLosses(
        {
            "click": TaskLoss.named("bce"),
            "item": ItemLoss(pointwise.info_nce, (("temperature", 0.5),)),
        }
    )
    outputs = {"click": torch.randn(K * 4, 1), "item": torch.randn(K * 4, 5)}
    actual, counts = losses(outputs, labels, weights, {"item": items})
    split = [{task: o.view(K, 4, -1)[m] for task, o in outputs.items()} for m in range(K)]
    each = [losses(one, labels, weights, {"item": items}) for one in split]
    torch.testing.assert_close(actual, torch.stack([loss for loss, _ in each]).mean(0))
    assert counts.tolist() == each[0][1].tolist() == [3, 2]


def _amounts(outputs: Tensor) -> Tensor:
    return kind_of("customer_value").predict(_spec("customer_value", 3), outputs, outputs, None)


def _spec(kind: str, outputs: int) -> TaskSpec:
    return TaskSpec("task", kind, outputs)


@pytest.mark.parametrize(
    ("kind", "width", "prediction"),
    [
        ("binary", 1, torch.sigmoid),
        ("multiclass", 4, lambda outputs: outputs.softmax(-1)),
        ("regression", 1, lambda outputs: outputs),
        ("count", 1, torch.exp),
        ("customer_value", 3, _amounts),
        ("retrieval", 5, lambda queries: queries),
    ],
)
def test_members_predict_their_mean(kind: str, width: int, prediction: Any) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(K, 7, width) * 2
    if kind == "retrieval":
        outputs = F.normalize(outputs, dim=-1)
    merged = kind_of(kind).merged(outputs)
    mean = torch.stack([prediction(one) for one in outputs]).mean(0)
    if kind == "retrieval":
        mean = F.normalize(mean, dim=-1)
    torch.testing.assert_close(prediction(merged), mean)
    one = kind_of(kind).merged(outputs[:1])
    torch.testing.assert_close(prediction(one), prediction(outputs[0]))


def test_sure_members_stay_finite() -> None:
    outputs = torch.tensor([[[90.0]], [[-95.0]]])
    merged = kind_of("binary").merged(outputs)
    np.testing.assert_allclose(merged.sigmoid(), 0.5)
    assert kind_of("binary").merged(torch.full((2, 1, 1), 200.0)).isfinite().all()
