"""Tasks behind others: the joint logit, the network that gives it, and what training needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.funnel import joint_logit
from recsys_mtl.model.grouped import HiddenLayers
from recsys_mtl.model.network import MultiTaskNetwork, NetworkSpec
from tests.encoded import data_spec, encoded

DATA = data_spec(
    numeric=3,
    tasks=(
        TaskSpec("buy", "binary", 1, prior=(0.2,), through="cart"),  # before the tasks it needs
        TaskSpec("click", "binary", 1, prior=(0.1,)),
        TaskSpec("cart", "binary", 1, prior=(0.3,), through="click"),
    ),
)
SPEC = NetworkSpec(
    shared_experts=(ExpertGroup(count=2, hidden=(7, 6)),),
    task_experts=(ExpertGroup(count=1, hidden=(6,)),),
    tower_hidden=(5,),
    layers=HiddenLayers(dropout=0.0),
    tower_layers=HiddenLayers(dropout=0.0),
)
ROWS = 11


def network(**spec: object) -> MultiTaskNetwork:
    torch.manual_seed(0)
    return MultiTaskNetwork(DATA, NetworkSpec(**{**vars(SPEC), **spec}), backend="plain")


def batch():
    g = torch.Generator().manual_seed(1)
    return encoded(DATA, numeric=torch.randn(ROWS, 3, generator=g), labels=torch.zeros(ROWS, 3))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_joint_logit_is_that_of_the_product(length: int) -> None:
    logits = torch.randn(length, 9, 1, generator=torch.Generator().manual_seed(length)) * 3
    product = np.prod(expit(logits.double().numpy()), axis=0)
    expected = np.log(product) - np.log1p(-product)
    assert joint_logit(list(logits)).numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_joint_logit_is_stable_where_a_product_is_not(dtype: torch.dtype) -> None:
    ends = torch.tensor([-300.0, -40.0, 40.0, 300.0])
    first, second = (
        pair.reshape(-1, 1).to(dtype).requires_grad_()
        for pair in torch.meshgrid(ends, ends, indexing="ij")
    )
    joint = joint_logit([first, second])
    gradients = torch.autograd.grad(joint.sum(), [first, second])
    assert joint.dtype == torch.float32
    assert all(bool(t.isfinite().all()) for t in (joint, *gradients))
    pairs = torch.cat([first, second], 1).detach().tolist()
    at = {tuple(pair): float(z) for pair, z in zip(pairs, joint.detach(), strict=True)}
    assert at[300, -300] == -300
    assert at[-300, -300] == -600
    assert at[300, 300] == pytest.approx(300 - np.log(2), rel=1e-5)


def test_the_network_gives_the_joint_logits_and_starts_at_the_joint_rate() -> None:
    net = network().eval()
    with torch.no_grad():
        outputs = net(batch())
        towers = net.towers(outputs.mixed.tasks)
        for head in net.towers.heads:
            head.weight.zero_()
        start = net(batch())
    chance = {task: expit(logit.double().numpy()) for task, logit in towers.items()}
    expected = {
        "click": chance["click"],
        "cart": chance["click"] * chance["cart"],
        "buy": chance["click"] * chance["cart"] * chance["buy"],
    }
    for task, product in expected.items():
        assert outputs.logits[task].sigmoid().numpy() == pytest.approx(product, rel=1e-5)
    rates = {task: float(logit[0].sigmoid()) for task, logit in start.logits.items()}
    assert rates == pytest.approx({"buy": 0.006, "click": 0.1, "cart": 0.03}, rel=1e-4)
    assert not net.tasks_are_separable
    assert outputs.conditional == {}


def test_members_mean_their_joint_probabilities() -> None:
    net = network(members=3).eval()
    with torch.no_grad():
        outputs = net(batch())
        net.towers.train()
        towers = net.towers(outputs.mixed.tasks)
    by_member = {t: expit(v.double().numpy()).reshape(3, ROWS, 1) for t, v in towers.items()}
    expected = (by_member["click"] * by_member["cart"] * by_member["buy"]).mean(0)
    assert outputs.logits["buy"].sigmoid().numpy() == pytest.approx(expected, rel=1e-5)
    assert outputs.members["buy"].shape == (3, ROWS, 1)


@pytest.mark.parametrize("members", [1, 2])
def test_training_gets_conditional_and_imputed_logits(members: int) -> None:
    net = network(members=members, imputed=("cart",)).train()
    outputs = net(batch())
    towers = net.towers(outputs.mixed.tasks)
    shapes = {task: tuple(given.shape) for task, given in outputs.conditional.items()}
    assert shapes == {"buy": (members * ROWS, 1), "cart": (members * ROWS, 2)}
    assert torch.equal(outputs.conditional["cart"][:, :1], towers["cart"])
    dense = {id(parameter) for parameter in net.dense_parameters()}
    imputation = list(net.funnel.imputation.parameters())
    assert imputation
    assert all(id(parameter) in dense for parameter in imputation)
    assert network(members=members).state_dict().keys() < net.state_dict().keys()


def test_a_cycle_is_refused() -> None:
    tasks = (
        TaskSpec("a", "binary", 1, through="b"),
        TaskSpec("b", "binary", 1, through="a"),
    )
    with pytest.raises(ValueError, match="cycle"):
        MultiTaskNetwork(data_spec(numeric=1, tasks=tasks), SPEC, backend="plain")
