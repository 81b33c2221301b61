from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.model import Cut, embeddings_plain, make_embeddings


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The ids of every update of a table."""
    seen: list[Tensor] = []
    original = embeddings_plain._SameWidth.update

    def update(self, ids, gradient, learning_rate):
        seen.append(ids)
        original(self, ids, gradient, learning_rate)

    monkeypatch.setattr(embeddings_plain._SameWidth, "update", update)
    return seen


def embedded() -> list[Tensor]:
    """Two tensors of tables of their own, as two ways to pool would give."""
    ids = torch.tensor([1, 2, 1])
    return [
        make_embeddings([TableSpec(name, 5, 4)], backend="plain")([(ids, None)], 3)
        for name in ("city", "seen")
    ]


def test_many_passes_above_are_one_update_below(updates: list[Tensor]) -> None:
    cut = Cut(embedded())
    first, second = cut.leaf()
    for factor in (1.0, 2.0, 3.0):
        (factor * first * second).sum().backward()
    assert updates == []
    cut.spend()
    assert len(updates) == 2
    torch.testing.assert_close(first.grad, 6 * second.detach())


def test_the_same_leaves_at_every_call_with_the_values_of_the_tables() -> None:
    below = embedded()
    cut = Cut(below)
    assert all(a is b for a, b in zip(cut.leaf(), cut.leaf(), strict=True))
    for leaf, value, tensor in zip(cut.leaf(), cut.values(), below, strict=True):
        assert leaf.is_leaf
        assert leaf.requires_grad
        assert not value.requires_grad
        assert torch.equal(leaf, tensor)
        assert torch.equal(value, tensor)


def test_a_leaf_without_a_gradient_is_left_out(updates: list[Tensor]) -> None:
    cut = Cut(embedded())
    cut.leaf()[1].sum().backward()
    cut.spend()
    assert len(updates) == 1


def test_a_gradient_is_spent_once(updates: list[Tensor]) -> None:
    cut = Cut(embedded())
    sum(leaf.sum() for leaf in cut.leaf()).backward()
    cut.spend()
    with pytest.raises(RuntimeError, match="once a step"):
        cut.spend()
    assert len(updates) == 2


def test_nothing_to_spend() -> None:
    Cut(embedded()).spend()
    with torch.no_grad():
        fixed = embedded()
    cut = Cut(fixed)
    cut.leaf()[0].sum().backward()
    cut.spend()
