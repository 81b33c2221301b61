from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recsys_mtl.gradients import Activation, Part, add_gradients, partition_of, task_gradients
from recsys_mtl.gradients.partition import Partition
from recsys_mtl.gradients.parts import Blocks

EXPERTS, INPUTS, WIDTH, TASKS = 3, 5, 4, 2


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


GROUPED, BIAS, PLAIN = parameter(2, 3, 5), parameter(2, 3), parameter(7)
FIRST = Part("shared.0.weight", "shared.0", [(GROUPED, 0)])
OTHER = Part("shared.1.weight", "shared.1", [(GROUPED, 1)])
SMALL = Part("shared.0.bias", "shared.0", [(BIAS, 0)])
BOTH = Part("shared.1.rest", "shared.1", [(BIAS, 1), (PLAIN, None)])
CUT = Activation("embeddings", 11)


def columns_of(partition: Partition) -> list[list[tuple[int, int]]]:
    """(tensor, column) of every block."""
    columns: list[list[tuple[int, int]]] = [[] for _ in range(partition.blocks)]
    for segment in partition.segments:
        for number in range(segment.count):
            start = segment.start + number * segment.width
            columns[segment.block + number] += [
                (segment.tensor, start + i) for i in range(segment.width)
            ]
    return columns


def all_columns(widths: Sequence[int], *tensors: int) -> list[tuple[int, int]]:
    return [(tensor, i) for tensor in tensors for i in range(widths[tensor])]


def test_width_is_that_of_its_slices() -> None:
    assert [part.width for part in (FIRST, SMALL, BOTH, CUT)] == [15, 3, 10, 11]
    assert CUT.group == "embeddings"


PARTS = (FIRST, CUT, OTHER, SMALL, BOTH)
WIDTHS = [15, 11, 15, 3, 10]


def test_all_are_one_block() -> None:
    partition, names = partition_of(PARTS, "all")
    assert names == ("all",)
    assert columns_of(partition) == [all_columns(WIDTHS, 0, 1, 2, 3, 4)]


def test_a_block_for_each_expert_wherever_its_parts_are() -> None:
    partition, names = partition_of(PARTS, "expert")
    assert names == ("shared.0", "embeddings", "shared.1")
    assert columns_of(partition) == [
        all_columns(WIDTHS, 0, 3), all_columns(WIDTHS, 1), all_columns(WIDTHS, 2, 4)
    ]  # fmt: skip


def test_a_block_for_each_parameter() -> None:
    partition, names = partition_of(PARTS, "parameter")
    assert names == tuple(part.name for part in PARTS)
    assert columns_of(partition) == [all_columns(WIDTHS, i) for i in range(5)]


def test_fixed_blocks_reach_over_parts_and_never_into_an_activation() -> None:
    partition, names = partition_of(PARTS, "fixed", size=8)
    inside = all_columns(WIDTHS, 0, 2, 3, 4)
    cuts = [inside[start : start + 8] for start in range(0, 43, 8)]
    assert columns_of(partition) == [*cuts, all_columns(WIDTHS, 1)]
    assert names == (
        *("shared.0.weight.0", "shared.0.weight.1", "shared.1.weight.0", "shared.1.weight.1"),
        *("shared.0.bias.0", "shared.1.rest.0", "embeddings"),
    )


def test_a_size_beyond_all_parts_is_one_block_and_an_activation() -> None:
    partition, names = partition_of(PARTS, "fixed")
    assert columns_of(partition) == [all_columns(WIDTHS, 0, 2, 3, 4), all_columns(WIDTHS, 1)]
    assert names == ("shared.0.weight.0", "embeddings")


def test_fixed_blocks_of_activations_alone() -> None:
    partition, names = partition_of([CUT, Activation("elsewhere", 2)], "fixed", size=4)
    assert names == ("embeddings", "elsewhere")
    assert columns_of(partition) == [all_columns([11, 2], 0), all_columns([11, 2], 1)]


@st.composite
def some_parts(draw: st.DrawFn) -> list[Part | Activation]:
    """Parts of three experts and up to two activations, in any order."""
    parts: list[Part | Activation] = []
    for number, expert in enumerate(draw(st.lists(st.integers(0, 2), max_size=6))):
        own = parameter(3, draw(st.integers(1, 9)))
        index = draw(st.sampled_from([None, 1]))
        name = f"shared.{expert}"
        parts.append(Part(f"{name}.{number}", name, [(own, index)]))
    parts += [
        Activation(f"activation {i}", draw(st.integers(1, 12)))
        for i in range(draw(st.integers(0, 2)))
    ]
    parts = parts or [Activation("alone", 1)]
    return draw(st.permutations(parts))


@given(some_parts(), st.sampled_from(["all", "expert", "parameter", "fixed"]), st.integers(1, 30))
def test_every_column_is_in_one_block_and_names_are_unique(
    parts: list[Part | Activation], blocks: Blocks, size: int
) -> None:
    partition, names = partition_of(parts, blocks, size=size)
    by_block = columns_of(partition)
    widths = [part.width for part in parts]
    assert partition.widths == tuple(widths)
    assert len(names) == len(set(names)) == partition.blocks
    assert sorted(c for block in by_block for c in block) == all_columns(widths, *range(len(parts)))
    if blocks == "fixed":
        of_parts = [block for block in by_block if isinstance(parts[block[0][0]], Part)]
        assert all(len(block) == size for block in of_parts[:-1])
        for block in by_block:
            activations = {tensor for tensor, _ in block if isinstance(parts[tensor], Activation)}
            assert not activations or {tensor for tensor, _ in block} == activations
            assert len(activations) <= 1


# Adding gradients.


def test_gradients_are_added_to_what_is_there() -> None:
    weight, other = parameter(2, 3), parameter(5)
    weight.grad = torch.ones(2, 3)
    parts = [Part("w", "e", [(weight, None)]), Part("o", "e", [(other, None)])]
    add_gradients(parts, [torch.arange(6.0), torch.arange(5.0)])
    assert torch.equal(weight.grad, 1 + torch.arange(6.0).view(2, 3))
    assert other.grad is not None
    assert torch.equal(other.grad, torch.arange(5.0))


def test_slices_leave_the_rest_of_a_parameter_alone() -> None:
    weight, bias = parameter(3, 2, 4), parameter(3, 5)
    bias.grad = torch.full((3, 5), 2.0)
    part = Part("e", "e", [(weight, 1), (bias, 2)])
    add_gradients([part], [torch.arange(13.0)])
    expected = torch.zeros(3, 2, 4)
    expected[1] = torch.arange(8.0).view(2, 4)
    assert weight.grad is not None
    assert torch.equal(weight.grad, expected)
    assert torch.equal(bias.grad[:2], torch.full((2, 5), 2.0))
    assert torch.equal(bias.grad[2], 2 + torch.arange(8.0, 13.0))


def test_several_parts_of_one_parameter_do_not_disturb_each_other() -> None:
    weight = parameter(3, 2)
    parts = [Part(f"e{i}", f"e{i}", [(weight, i)]) for i in (2, 0)]
    for _ in range(2):
        add_gradients(parts, [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])])
    assert weight.grad is not None
    assert weight.grad.tolist() == [[6, 8], [0, 0], [2, 4]]


def test_what_was_combined_stays_as_it_is() -> None:
    weight, combined = parameter(4), torch.arange(4.0)
    for _ in range(2):
        add_gradients([Part("w", "w", [(weight, None)])], [combined])
    assert weight.grad is not None
    assert torch.equal(weight.grad, 2 * torch.arange(4.0))
    assert torch.equal(combined, torch.arange(4.0))


def test_a_gradient_for_each_part_is_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        add_gradients([FIRST], [])


class Network(nn.Module):
    """Experts as slices of grouped parameters, and a separate layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS, INPUTS, WIDTH))
        self.bias = nn.Parameter(torch.randn(EXPERTS, WIDTH))
        self.plain = nn.Linear(INPUTS, WIDTH)
        self.towers = nn.ModuleList(nn.Linear(WIDTH, 1) for _ in range(TASKS))

    def losses(self, x: Tensor) -> Tensor:
        hidden = (torch.einsum("bi,eiw->ebw", x, self.weight) + self.bias.unsqueeze(1)).tanh()
        mixed = hidden.sum(0) + self.plain(x)
        return torch.stack([tower(mixed).square().mean() for tower in self.towers])

    def parts(self) -> list[Part]:
        """All experts in two parts each, the last first; the layer's bias is left out."""
        sliced = [
            Part(f"{name}.{index}", f"{index}", [(p, index)])
            for name, p in (("bias", self.bias), ("weight", self.weight))
            for index in reversed(range(EXPERTS))
        ]
        return [*sliced, Part("plain", "plain", [(self.plain.weight, None)])]


@pytest.mark.parametrize("before", [False, True])
def test_the_sum_of_task_gradients_added_is_the_backward_pass(seed: int, before: bool) -> None:
    torch.manual_seed(seed)
    network, x = Network(), torch.randn(13, INPUTS)
    parts = network.parts()
    named = {n: p for n, p in network.named_parameters() if n in ("weight", "bias", "plain.weight")}

    def grads(fill: Callable[[], None]) -> dict[str, Tensor]:
        network.zero_grad()
        if before:
            for p in named.values():
                p.grad = torch.ones_like(p)
        fill()
        return {n: p.grad.clone() for n, p in named.items() if p.grad is not None}

    plain = grads(lambda: torch.autograd.backward(network.losses(x).sum()))
    present = torch.ones(TASKS, dtype=torch.bool)
    rows = task_gradients(network.losses(x), [part.block for part in parts], present)
    added = grads(lambda: add_gradients(parts, [part.sum(0) for part in rows]))
    assert added.keys() == plain.keys() == named.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(added[name], gradient, msg=name)
    assert network.plain.bias.grad is None
