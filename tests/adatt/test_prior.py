from __future__ import annotations

import pytest
import torch

from recsys_mtl.adatt import group_prior, prior_blend

TASKS = ["ctr", "cvr", "churn", "ltv", "alone"]


def test_groups_rows_and_the_ungrouped() -> None:
    groups = {"engagement": (["ctr", "cvr"], 0.8), "lifecycle": (["churn", "ltv"], 0.7)}
    prior = group_prior(TASKS, groups)
    torch.testing.assert_close(prior.sum(1), torch.ones(5))
    assert (prior.diagonal() == 0).all()
    ctr, lonely = torch.tensor([0, 0.8, 0.3, 0.3, 0.3]), torch.tensor([0.3, 0.3, 0.3, 0.3, 0])
    torch.testing.assert_close(prior[0], ctr / 1.7)
    torch.testing.assert_close(prior[2, 3], torch.tensor(0.7 / 1.6))
    torch.testing.assert_close(prior[4], lonely / 1.2)


def test_one_task_and_no_strength_are_zeros() -> None:
    assert torch.equal(group_prior(["ctr"], {}), torch.zeros(1, 1))
    prior = group_prior(TASKS, {"engagement": (["ctr", "cvr"], 0.8)}, inter_strength=0.0)
    assert prior.sum(1).tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": (["cttr"], 0.8)}, "groups.a: expected tasks of ctr, .*; found cttr"),
        ({"a": (["ctr"], 0.8), "b": (["ctr"], 0.7)}, "groups.b: .* ctr is in a"),
        ({"a": (["ctr"], -0.8)}, "groups.a: expected a strength of 0 or more, found -0.8"),
    ],
)
def test_wrong_groups_are_named(groups: dict[str, tuple[list[str], float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_prior(TASKS, groups)


def test_a_negative_inter_strength_is_named() -> None:
    with pytest.raises(ValueError, match="inter_strength: expected 0 or more, found -1"):
        group_prior(TASKS, {}, inter_strength=-1)


def test_blend_is_linear_between_and_constant_outside() -> None:
    shares = [prior_blend(epoch, warmup=10, freeze=28) for epoch in (0, 10, 19, 28, 37)]
    assert shares == pytest.approx([0.5, 0.5, 0.3, 0.1, 0.1])
    assert prior_blend(1, warmup=0, freeze=4, start=0.8, end=0.0) == pytest.approx(0.6)
