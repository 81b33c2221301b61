from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recsys_mtl.gradients import output_gradients, task_gradients

TASKS, B, INPUTS, WIDTH = 3, 13, 4, 5
ALL = torch.ones(TASKS, dtype=torch.bool)


@pytest.fixture
def made(seed: int) -> tuple[nn.Linear, Tensor, Tensor, list[list[tuple[Tensor, int | None]]]]:
    """A shared layer, its output, the losses of three towers on it, and two blocks."""
    torch.manual_seed(seed)
    shared = nn.Linear(INPUTS, WIDTH)
    output = shared(torch.randn(B, INPUTS))
    losses = (output.tanh() @ torch.randn(WIDTH, TASKS) - torch.randn(B, TASKS)).square().mean(0)
    blocks: list[list[tuple[Tensor, int | None]]] = [
        [(shared.weight, 2), (shared.bias, 2)],
        [(shared.weight, None)],
    ]
    return shared, output, losses, blocks


def cotangents(output: Tensor, losses: Tensor) -> list[Tensor]:
    return [torch.autograd.grad(loss, output, retain_graph=True)[0] for loss in losses]


def test_equal_those_of_the_full_backward(made: tuple[nn.Linear, Tensor, Tensor, list]) -> None:  # type: ignore[type-arg]
    shared, output, losses, blocks = made
    at_output = cotangents(output, losses)
    gradients = output_gradients(output, at_output.__getitem__, blocks, ALL)
    torch.testing.assert_close(gradients, task_gradients(losses, blocks, ALL))
    assert [tuple(g.shape) for g in gradients] == [(TASKS, INPUTS + 1), (TASKS, INPUTS * WIDTH)]
    assert (gradients[0] != 0).any(1).all()
    assert shared.weight.grad is None
    losses.sum().backward()  # the graph is alive
    assert shared.weight.grad is not None


def test_only_present_tasks_are_requested(made: tuple[nn.Linear, Tensor, Tensor, list]) -> None:  # type: ignore[type-arg]
    _, output, losses, blocks = made
    at_output, requested = cotangents(output, losses), []

    def cotangent(task: int) -> Tensor:
        requested.append(task)
        return at_output[task]

    gradients = output_gradients(output, cotangent, blocks, torch.tensor([False, True, False]))
    assert requested == [1]
    for gradient in gradients:
        assert (gradient[[0, 2]] == 0).all()
        assert (gradient[1] != 0).any()


def test_frozen_and_unreached_parameters_are_zero(seed: int) -> None:
    torch.manual_seed(seed)
    frozen, alive = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, WIDTH)
    frozen.requires_grad_(False)
    output = alive(frozen(torch.randn(B, INPUTS)))
    unreached = nn.Parameter(torch.ones(7))
    blocks = [[(frozen.weight, None)], [(unreached, None)], [(alive.bias, None)]]
    gradients = output_gradients(output, lambda _: torch.ones(B, WIDTH), blocks, ALL)
    assert (gradients[0] == 0).all()
    assert (gradients[1] == 0).all()
    torch.testing.assert_close(gradients[2], torch.full((TASKS, WIDTH), float(B)))
