from __future__ import annotations

import math

import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.model.gates import GateStatistics, entropy, expert_names, gate_prior

TASKS = ("ctr", "cvr", "ltv")


def test_names_put_own_experts_first() -> None:
    assert expert_names("ctr", 2, 1) == ("ctr.0", "ctr.1", "shared.0")


def test_prior_prefers() -> None:
    prior = gate_prior(TASKS, {"cvr": ["shared.1", "cvr.0"]}, own=2, shared=3)
    assert prior.tolist() == [[0.0] * 5, [1.0, -1.0, -1.0, 1.0, -1.0], [0.0] * 5]


@pytest.mark.parametrize(
    ("preferred", "needle"),
    [
        ({"cvx": ["shared.0"]}, "did you mean 'cvr'"),
        ({"cvr": ["shared.3"]}, "shared.3"),
        ({"cvr": ["ctr.0"]}, "model.gates.preferred.cvr"),
    ],
)
def test_unknown_names_are_reported(preferred: dict[str, list[str]], needle: str) -> None:
    with pytest.raises(UserError, match=needle):
        gate_prior(TASKS, preferred, own=2, shared=3)


def test_entropy() -> None:
    weights = torch.tensor([[0.25] * 4, [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    want = torch.tensor([math.log(4), 0.0, math.log(2)])
    torch.testing.assert_close(entropy(weights), want)


def test_entropy_of_a_saturated_gate_has_a_finite_gradient() -> None:
    logits = torch.tensor([[0.0, -500.0]], requires_grad=True)
    entropy(logits.softmax(-1)).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_statistics_are_over_rows_not_batches() -> None:
    names = {"a": ("a.0", "shared.0", "shared.1"), "b": ("b.0", "shared.0", "shared.1")}
    torch.manual_seed(0)
    weights = {"a": torch.randn(9, 3).softmax(-1), "b": torch.tensor([[0.8, 0.2, 0.0]] * 9)}
    statistics = GateStatistics(names)
    for rows in (slice(0, 7), slice(7, 9)):
        statistics.update({task: w[rows] for task, w in weights.items()}, torch.ones(9)[rows])
    uses = statistics.compute()
    assert list(uses["a"].mean) == ["a.0", "shared.0", "shared.1"]
    assert list(uses["a"].mean.values()) == pytest.approx(weights["a"].mean(0).tolist())
    assert uses["a"].entropy == pytest.approx(float(entropy(weights["a"]).mean()))
    assert uses["b"].dead == ("shared.1",)
    assert uses["a"].dead == ()


def test_statistics_weigh_rows() -> None:
    statistics = GateStatistics({"a": ("x", "y")})
    gates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    statistics.update({"a": gates}, torch.tensor([3.0, 1.0, 0.0]))
    assert statistics.compute()["a"].mean == {"x": 0.75, "y": 0.25}
    nothing = GateStatistics({"a": ("x", "y")})
    nothing.update({"a": gates}, torch.zeros(3))
    assert nothing.compute() == {}


def test_no_gates_no_statistics() -> None:
    statistics = GateStatistics({})
    statistics.update({}, torch.ones(9))
    assert statistics.compute() == {}
