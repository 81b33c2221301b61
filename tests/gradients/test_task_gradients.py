from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recsys_mtl.gradients import task_gradients
from recsys_mtl.model.cgc import CGCSpec
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.grouped import HiddenLayers
from recsys_mtl.model.ple import PLE

B, INPUTS, EXPERTS, WIDTH, TASKS = 11, 5, 3, 4, 2
ALL = torch.ones(TASKS, dtype=torch.bool)


class Grouped(nn.Module):
    """Experts as slices of grouped parameters, a separate plain layer, a tower each task."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS, INPUTS, WIDTH))
        self.bias = nn.Parameter(torch.randn(EXPERTS, WIDTH))
        self.plain = nn.Linear(INPUTS, WIDTH)
        self.unreached = nn.Parameter(torch.randn(7))
        self.towers = nn.ModuleList(nn.Linear(WIDTH, 1) for _ in range(TASKS))

    def losses(self, x: Tensor, y: Tensor) -> list[Tensor]:
        hidden = (torch.einsum("bi,eiw->ebw", x, self.weight) + self.bias.unsqueeze(1)).tanh()
        mixed = hidden.sum(0) + self.plain(x)
        return [(t(mixed).squeeze(1) - y[:, i]).square().mean() for i, t in enumerate(self.towers)]

    def blocks(self) -> list[list[tuple[Tensor, int | None]]]:
        experts: list[list[tuple[Tensor, int | None]]] = [
            [(self.weight, index), (self.bias, index)] for index in range(EXPERTS)
        ]
        return [*experts, [(p, None) for p in self.plain.parameters()], [(self.unreached, None)]]


@pytest.fixture
def network(seed: int) -> Grouped:
    torch.manual_seed(seed)
    return Grouped()


@pytest.fixture
def losses(network: Grouped) -> list[Tensor]:
    return network.losses(torch.randn(B, INPUTS), torch.randn(B, TASKS))


def by_backward(network: Grouped, loss: Tensor) -> list[Tensor]:
    """The blocks' gradients of one loss, from `.grad`."""
    network.zero_grad()
    loss.backward(retain_graph=True)
    rows = []
    for block in network.blocks():
        parts = []
        for parameter, index in block:
            full = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parts.append((full if index is None else full[index]).flatten())
        rows.append(torch.cat(parts).clone())
    network.zero_grad()
    return rows


def test_equals_backward_of_each_task(network: Grouped, losses: list[Tensor]) -> None:
    gradients = task_gradients(torch.stack(losses), network.blocks(), ALL)
    shapes = [(TASKS, INPUTS * WIDTH + WIDTH)] * (EXPERTS + 1) + [(TASKS, 7)]
    assert [tuple(g.shape) for g in gradients] == shapes
    for task, loss in enumerate(losses):
        for gradient, expected in zip(gradients, by_backward(network, loss), strict=True):
            torch.testing.assert_close(gradient[task], expected)
    assert (gradients[-1] == 0).all()  # nothing reaches it
    assert not torch.allclose(gradients[0], gradients[1])  # slices, not the same part twice


def test_scalars_give_the_same_as_stacked_losses(network: Grouped, losses: list[Tensor]) -> None:
    stacked = task_gradients(torch.stack(losses), network.blocks(), ALL)
    scalars = task_gradients(losses, network.blocks(), ALL)
    torch.testing.assert_close(scalars, stacked)


def test_grad_is_untouched_and_the_graph_alive(network: Grouped, losses: list[Tensor]) -> None:
    network.bias.grad = marker = torch.full_like(network.bias, 3.0)
    task_gradients(losses, network.blocks(), ALL)
    assert network.bias.grad is marker
    assert (marker == 3.0).all()
    assert network.weight.grad is None
    torch.stack(losses).sum().backward()
    assert network.weight.grad is not None


def test_absent_task_is_zero(network: Grouped, losses: list[Tensor]) -> None:
    full = task_gradients(losses, network.blocks(), ALL)
    gradients = task_gradients(losses, network.blocks(), torch.tensor([False, True]))
    for gradient, expected in zip(gradients, full, strict=True):
        assert (gradient[0] == 0).all()
        torch.testing.assert_close(gradient[1], expected[1])


def test_frozen_parameters_and_losses_off_the_graph_are_zero(network: Grouped) -> None:
    network.bias.requires_grad_(False)
    x, y = torch.randn(B, INPUTS), torch.randn(B, TASKS)
    losses = [network.losses(x, y)[0], torch.tensor(1.0)]
    first = task_gradients(losses, network.blocks(), ALL)[0]
    assert (first[0, -WIDTH:] == 0).all()
    assert (first[0, :-WIDTH] != 0).any()
    assert (first[1] == 0).all()


def test_bf16_autocast_agrees(network: Grouped) -> None:
    x, y = torch.randn(B, INPUTS), torch.randn(B, TASKS)
    plain = task_gradients(network.losses(x, y), network.blocks(), ALL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = network.losses(x, y)
    gradients = task_gradients(losses, network.blocks(), ALL)
    for half, full in zip(gradients, plain, strict=True):
        assert half.dtype == torch.float32
        # bf16 keeps 8 bits: every product and activation is off by up to 2^-9 of itself; with a
        # few of them in a row, the full gradient by about 1 %.
        assert (half - full).norm() <= 0.03 * full.norm()


def test_wrong_number_of_flags_and_no_blocks(losses: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="each of 2 losses, found 3"):
        task_gradients(losses, [], torch.ones(3, dtype=torch.bool))
    assert task_gradients(losses, [], ALL) == []


@pytest.mark.slow  # the first compilation takes seconds
def test_a_compiled_network_agrees(network: Grouped) -> None:
    x, y = torch.randn(B, INPUTS), torch.randn(B, TASKS)
    plain = task_gradients(network.losses(x, y), network.blocks(), ALL)
    from torch._functorch import config

    with config.patch(donated_buffer=False):  # the graph has to stay alive
        compiled = torch.compile(network.losses, backend="aot_eager")
        losses = compiled(x, y)
        gradients = task_gradients(losses, network.blocks(), ALL)
        torch.stack(losses).sum().backward()
    torch.testing.assert_close(gradients, plain)
    assert network.weight.grad is not None


def test_shared_experts_of_a_ple_are_their_own_blocks(seed: int) -> None:
    torch.manual_seed(seed)
    shared = (ExpertGroup(count=3, hidden=(6, 5)), ExpertGroup(kind="cross", count=2, width=4))
    spec = CGCSpec(
        ("a", "b"), shared=shared, own=(ExpertGroup(hidden=(3,)),), layers=HiddenLayers(dropout=0.0)
    )
    ple = PLE(spec, INPUTS, levels=2)
    losses = ple(torch.randn(B, INPUTS)).tasks.square().mean((1, 2))
    blocks = ple.shared_expert_parameters()
    gradients = task_gradients(losses, blocks, ALL)
    assert len(gradients) == 2 * 5
    for task in range(TASKS):
        ple.zero_grad()
        losses[task].backward(retain_graph=True)
        for gradient, block in zip(gradients, blocks, strict=True):
            parts = [p.grad[i].flatten() for p, i in block if p.grad is not None]
            torch.testing.assert_close(gradient[task], torch.cat(parts))
    assert len({gradient[0].norm().item() for gradient in gradients}) == len(gradients)
