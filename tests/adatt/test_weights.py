from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_mtl.adatt import Selection, group_prior, transfer_weights
from recsys_mtl.adatt.weights import only_present

ROW = torch.tensor([1.0, -0.8, 0.05, 0.6])


def drawn(seed: int, tasks: int, experts: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Affinity (E, T, T), W (T, T), P (T, T), presence (T,)."""
    generator = torch.Generator().manual_seed(seed)
    affinity = torch.rand(experts, tasks, tasks, generator=generator) * 2 - 1
    w = torch.randn(tasks, tasks, generator=generator) * 3
    prior = group_prior([str(i) for i in range(tasks)], {})
    return affinity, w, prior, torch.rand(tasks, generator=generator) < 0.6


cases = {
    "seed": st.integers(0, 2**31),
    "tasks": st.integers(1, 6),
    "blend": st.floats(0, 1),
    "threshold": st.floats(-1, 1),
    "temperature": st.floats(0.05, 10),
}


@given(**cases)
def test_exclude_sums_to_one_over_allowed_peers(
    seed: int, tasks: int, blend: float, threshold: float, temperature: float
) -> None:
    affinity, w, prior, _ = drawn(seed, tasks)
    weights = transfer_weights(
        affinity, w, prior, blend=blend, selection=Selection(threshold, temperature)
    )
    allowed = ~(affinity < threshold) & ~torch.eye(tasks, dtype=torch.bool)
    assert (weights[~allowed] == 0).all()  # exactly
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), allowed.any(-1).float())


@given(seed=st.integers(0, 2**31), masking=st.sampled_from(["exclude", "zero_logit"]))
def test_equals_a_literal_loop(seed: int, masking: str) -> None:
    affinity, w, prior, present = drawn(seed, 4)
    selection = Selection(-0.1, 0.7, masking)  # type: ignore[arg-type]
    weights = transfer_weights(affinity, w, prior, blend=0.3, selection=selection, present=present)
    for e in range(2):
        for i in range(4):
            logits = {}
            for j in range(4):
                r = (w[i, j] + affinity[e, i, j]).double() * 0.7 + prior[i, j].double() * 0.3
                blocked = i == j or bool(affinity[e, i, j] < -0.1)
                if not blocked:
                    logits[j] = float(torch.exp(r / 0.7))
                elif masking == "zero_logit":
                    logits[j] = 1.0
            for j in range(4):
                both = bool(present[i]) and bool(present[j])
                expected = logits.get(j, 0.0) / (sum(logits.values()) or 1.0) if both else 0.0
                assert weights[e, i, j].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("masking", "threshold", "expected"),
    [
        ("zero_logit", -0.1, [0.205, 0.205, 0.216, 0.374]),
        ("exclude", -0.1, [0, 0, 0.366, 0.634]),
        ("exclude", -0.9, [0, 0.135, 0.316, 0.548]),  # unblocked: less than zero_logit gives it
    ],
)
def test_published_example(masking: str, threshold: float, expected: list[float]) -> None:
    affinity = torch.eye(4)
    affinity[0] = ROW
    zeros = torch.zeros(4, 4)
    selection = Selection(threshold=threshold, masking=masking)  # type: ignore[arg-type]
    weights = transfer_weights(affinity, zeros, zeros, blend=0.0, selection=selection)
    torch.testing.assert_close(weights[0], torch.tensor(expected), atol=5e-4, rtol=0)


@given(seed=st.integers(0, 2**31), masking=st.sampled_from(["exclude", "zero_logit"]))
def test_missing_task_neither_gives_nor_receives(seed: int, masking: str) -> None:
    affinity, w, prior, present = drawn(seed, 5)
    selection = Selection(masking=masking)  # type: ignore[arg-type]
    everyone = transfer_weights(affinity, w, prior, blend=0.2, selection=selection)
    weights = transfer_weights(affinity, w, prior, blend=0.2, selection=selection, present=present)
    assert (weights[:, ~present] == 0).all()
    assert (weights[:, :, ~present] == 0).all()
    kept = present.unsqueeze(1) & present
    torch.testing.assert_close(weights[:, kept], everyone[:, kept])  # not passed to others


def test_wholly_blocked_row_transfers_nothing_and_has_no_nan_gradient() -> None:
    affinity = torch.full((3, 3), 0.5)
    affinity[1] = -0.9
    w = torch.zeros(3, 3, requires_grad=True)
    weights = transfer_weights(affinity, w, torch.ones(3, 3), blend=0.3, selection=Selection())
    assert (weights[1] == 0).all()
    assert weights[0].sum().item() == pytest.approx(1)
    (weights * torch.arange(9.0).view(3, 3)).sum().backward()
    assert w.grad is not None
    assert w.grad.isfinite().all()
    assert (w.grad[1] == 0).all()
    assert (w.grad[0, 1:] != 0).all()


def test_the_threshold_itself_passes() -> None:
    affinity = torch.full((2, 2), -0.25)
    zeros = torch.zeros(2, 2)
    at = transfer_weights(affinity, zeros, zeros, blend=0.0, selection=Selection(-0.25))
    above = transfer_weights(affinity, zeros, zeros, blend=0.0, selection=Selection(-0.2))
    assert torch.equal(at, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert torch.equal(above, zeros)


def test_one_task_has_no_peers() -> None:
    one = torch.ones(1, 1)
    assert transfer_weights(one, one, one, blend=0.5, selection=Selection()).item() == 0


def test_presence_of_all_changes_nothing() -> None:
    weights = torch.rand(2, 3, 3)
    assert torch.equal(only_present(weights, torch.ones(3, dtype=torch.bool)), weights)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="temperature: expected more than 0, found 0"):
        Selection(temperature=0)
    with pytest.raises(ValueError, match="exclude, zero_logit; found excluded"):
        Selection(masking="excluded")  # type: ignore[arg-type]
