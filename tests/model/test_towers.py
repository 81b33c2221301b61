from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.errors import UserError
from recsys_mtl.model.grouped import HiddenLayers
from recsys_mtl.model.towers import Towers, tower_waves
from recsys_mtl.tasks import kind_of

B, D = 11, 6
TASKS = (
    TaskSpec("ltv", "regression", 1, prior=(2.5,)),
    TaskSpec("cvr", "binary", 1, prior=(0.02,)),
    TaskSpec("stage", "multiclass", 3, prior=(0.5, 0.3, 0.2)),
    TaskSpec("ctr", "binary", 1, prior=(0.1,)),
    TaskSpec("brand", "retrieval", 5, items=7),
)
TRANSFER = (("ctr", "cvr"), ("cvr", "ltv"), ("stage", "ltv"))


def towers(transfer: tuple[tuple[str, str], ...] = (), hidden: tuple[int, ...] = (4, 3)) -> Towers:
    torch.manual_seed(0)
    made = Towers(TASKS, D, hidden, layers=HiddenLayers(dropout=0.0), transfer=transfer)
    with torch.no_grad():
        for p in made.parameters():
            p.normal_()
    return made


def one(made: Towers, task: str, h: Tensor) -> Tensor:
    """A tower by the book; h is (B, D)."""
    index = [t.name for t in TASKS].index(task)
    wave = next(w for w, members in enumerate(made.waves) if index in members)
    position = made.waves[wave].index(index)
    for linear, norm in zip(made.hidden[wave].linears, made.hidden[wave].norms, strict=True):
        y = h @ linear.weight[position].T + linear.bias[position]
        y = (y - y.mean(1, keepdim=True)) / (y.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        y = y * norm.weight[position] + norm.bias[position]
        h = y * torch.sigmoid(y)
    return made.heads[index](h)


def transferred(made: Towers, edge: int, prediction: Tensor) -> Tensor:
    module = made.transfers[edge]
    y = module.norm(module.linear(prediction))
    return 0.5 * y * torch.sigmoid(y)


def test_few_rows_without_gradients_take_one_product() -> None:
    tasks = [replace(TASKS[0], name=name) for name in "abc"]
    made = Towers(tasks, D, (4,), layers=HiddenLayers())
    made.eval()
    x = torch.randn(3, 2, D)
    with torch.no_grad():
        got = made(x)
    for task, want in made(x).items():
        torch.testing.assert_close(got[task], want)


@pytest.mark.parametrize("rows", [1, B])
def test_towers_are_a_loop_over_tasks(rows: int) -> None:
    made = towers()
    x = torch.randn(5, rows, D)
    got = made(x)
    assert list(got) == ["ltv", "cvr", "stage", "ctr", "brand"]
    for k, task in enumerate(TASKS[:4]):
        torch.testing.assert_close(got[task.name], one(made, task.name, x[k]))
    query = one(made, "brand", x[4])
    want = query / query.square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(got["brand"], want)


@pytest.mark.parametrize("rows", [1, B])
def test_logits_are_transferred_in_order(rows: int) -> None:
    made = towers(TRANSFER)
    assert made.waves == [[2, 3, 4], [1], [0]]
    x = torch.randn(5, rows, D)
    got = made(x)
    ctr = one(made, "ctr", x[3])
    cvr = one(made, "cvr", x[1] + transferred(made, 0, ctr))
    stage = one(made, "stage", x[2])
    ltv = one(made, "ltv", x[0] + transferred(made, 1, cvr) + transferred(made, 2, stage))
    for task, want in {"ctr": ctr, "cvr": cvr, "stage": stage, "ltv": ltv}.items():
        torch.testing.assert_close(got[task], want)


def test_transfer_fades_to_zero() -> None:
    made = towers(TRANSFER)
    x = torch.randn(5, B, D)
    with torch.no_grad():
        for module in made.transfers:
            module.scale.zero_()
    torch.testing.assert_close(made(x)["ltv"], one(made, "ltv", x[0]))
    assert "transfers.0.scale" in made.state_dict()


@pytest.mark.parametrize(
    ("transfer", "needle"),
    [
        ((("ctr", "cvr"), ("cvr", "ltv"), ("ltv", "ctr")), "cycle.*ctr -> "),
        ((("ctr", "ctr"),), "cycle.*ctr -> ctr"),
        ((("ctx", "cvr"),), "did you mean 'ctr'"),
        ((("ctr", "cvr"), ("ctr", "cvr")), "twice.*ctr -> cvr"),
    ],
)
def test_wrong_transfers_are_reported(transfer: tuple[tuple[str, str], ...], needle: str) -> None:
    with pytest.raises(UserError, match=needle):
        tower_waves([task.name for task in TASKS], transfer)


def output_bias(task: TaskSpec) -> Tensor:
    return kind_of(task.kind).output_bias(task)


def test_untrained_outputs_are_the_prior() -> None:
    assert output_bias(TASKS[0]).tolist() == [2.5]
    torch.testing.assert_close(output_bias(TASKS[1]).sigmoid(), torch.tensor([0.02]))
    torch.testing.assert_close(output_bias(TASKS[2]).softmax(0), torch.tensor([0.5, 0.3, 0.2]))
    assert output_bias(TASKS[4]).tolist() == [0.0] * 5
    sure = TaskSpec("x", "binary", 1, prior=(0.0,))
    assert output_bias(sure).item() == pytest.approx(math.log(1e-6), rel=1e-3)
    made = Towers(TASKS, D, (4, 3), layers=HiddenLayers(dropout=0.0))
    assert made.heads[0].bias.tolist() == [2.5]


def test_no_hidden_layers() -> None:
    made = towers(hidden=())
    x = torch.randn(5, B, D)
    torch.testing.assert_close(made(x)["ctr"], made.heads[3](x[3]))


def test_outputs_are_float32_under_autocast() -> None:
    made = towers(TRANSFER)
    x = torch.randn(5, B, D)
    exact = made(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = made(x)
    for task, value in half.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact[task], atol=0.15, rtol=0.1)
