from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from recsys_mtl.gradients import (
    Combiner,
    ConflictLog,
    GradNorm,
    Partition,
    make_combiner,
    task_gradients,
)
from recsys_mtl.vision.backbones import SmallCNN
from recsys_mtl.vision.images import ImageTask
from recsys_mtl.vision.network import ImageNetwork
from recsys_mtl.vision.training import ImageStep, shared_parts

TASKS = (ImageTask("digit", 10), ImageTask("turn", 4), ImageTask("smiles", 2))
WEIGHTS = torch.tensor([1.0, 0.8, 0.5])
Batch = tuple[Tensor, Tensor]


@pytest.fixture
def batches(seed: int) -> list[Batch]:
    """Three batches of 9 images of 8 × 8; the second has no label of the last task."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for number in range(3):
        images = torch.rand(9, 3, 8, 8, generator=generator)
        labels = torch.stack(
            [torch.randint(0, task.classes, (9,), generator=generator) for task in TASKS], 1
        )
        if number == 1:
            labels[:, 2] = -1
        drawn.append((images, labels))
    return drawn


def make_network(seed: int = 3) -> ImageNetwork:
    torch.manual_seed(seed)
    return ImageNetwork(SmallCNN(3, 8, channels=(4, 5), width=7), TASKS)


def adamw(network: ImageNetwork) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)


def combiner_of(network: ImageNetwork, name: str) -> Combiner:
    partition = Partition.single([part.width for part in shared_parts(network)])
    return make_combiner(name, len(TASKS), partition, **({"seed": 5} if name == "pcgrad" else {}))


def trained(batches: list[Batch], make: Callable[[ImageNetwork], ImageStep]) -> list[Tensor]:
    """The parameters after all batches."""
    network = make_network()
    step = make(network)
    for number, batch in enumerate(batches):
        step(*batch, step=number)
        assert step.skipped == 0
    return [p.detach() for p in network.parameters()]


def test_the_plain_step_is_a_plain_training_loop(batches: list[Batch]) -> None:
    network = make_network()
    optimizer = adamw(network)
    for images, labels in batches:
        losses, _ = network.task_losses(network(images), labels)
        optimizer.zero_grad()
        (losses * WEIGHTS).sum().backward()
        optimizer.step()
    expected = [p.detach() for p in network.parameters()]
    state = trained(batches, lambda n: ImageStep(n, adamw(n), WEIGHTS))
    assert_close(state, expected, rtol=0, atol=0)


def test_gradients_combined_to_their_sum_are_the_plain_step(batches: list[Batch]) -> None:
    plain = trained(batches, lambda n: ImageStep(n, adamw(n), WEIGHTS))
    combined = trained(
        batches, lambda n: ImageStep(n, adamw(n), WEIGHTS, combiner=combiner_of(n, "sum"))
    )
    assert_close(combined, plain, rtol=1e-3, atol=1e-5)


def test_shared_parameters_get_the_combined_gradient_and_heads_their_own(
    batches: list[Batch],
) -> None:
    images, labels = batches[0]
    network = make_network()
    losses, _ = network.task_losses(network(images), labels)
    parts = shared_parts(network)
    rows = task_gradients(
        losses * WEIGHTS, [part.block for part in parts], torch.ones(3, dtype=torch.bool)
    )
    expected = combiner_of(network, "pcgrad").combine(rows, torch.ones(3, dtype=torch.bool), step=7)
    own = torch.autograd.grad((losses * WEIGHTS).sum(), list(network.heads.parameters()))

    step = ImageStep(network, adamw(network), WEIGHTS, combiner=combiner_of(network, "pcgrad"))
    step(images, labels, step=7)
    shared = [p.grad for _, _, p in network.shared_parameters()]
    for actual, gradient in zip(shared, expected.gradients, strict=True):
        assert actual is not None
        assert_close(actual.reshape(-1), gradient, rtol=1e-4, atol=1e-6)
    assert_close([p.grad for p in network.heads.parameters()], list(own), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("combiner", [None, "cagt"])
def test_a_task_of_weight_zero_is_left_out(batches: list[Batch], combiner: str | None) -> None:
    images, labels = batches[0]
    network = make_network()
    losses, _ = network.task_losses(network(images), labels)
    shared = [p for _, _, p in network.shared_parameters()]
    expected = torch.autograd.grad(losses[1], shared)
    made = None if combiner is None else combiner_of(network, combiner)
    only = torch.tensor([0.0, 1.0, 0.0])
    ImageStep(network, adamw(network), only, combiner=made)(images, labels, step=0)
    assert_close([p.grad for p in shared], list(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("combiner", [None, "cagt"])
def test_a_step_that_is_not_finite_updates_nothing(
    batches: list[Batch], combiner: str | None
) -> None:
    images, labels = batches[0]
    network = make_network()
    made = None if combiner is None else combiner_of(network, combiner)
    step = ImageStep(network, adamw(network), WEIGHTS, combiner=made)
    before = [p.detach().clone() for p in network.parameters()]
    step(torch.full_like(images, torch.inf), labels, step=0)
    assert step.skipped == 1
    assert_close([p.detach() for p in network.parameters()], before, rtol=0, atol=0)


def test_gradnorm_weighs_the_losses_of_the_next_step(batches: list[Batch]) -> None:
    gradnorm = GradNorm(len(TASKS))
    balanced = trained(batches[:1], lambda n: ImageStep(n, adamw(n), WEIGHTS, gradnorm=gradnorm))
    plain = trained(batches[:1], lambda n: ImageStep(n, adamw(n), WEIGHTS))
    assert_close(balanced, plain, rtol=0, atol=0)  # its weights began as ones
    assert gradnorm.weights.sum() == pytest.approx(3)
    assert (gradnorm.weights - 1).abs().max() > 0.01

    network, now = make_network(), gradnorm.weights.clone()
    losses, _ = network.task_losses(network(batches[2][0]), batches[2][1])
    shared = [p for _, _, p in network.shared_parameters()]
    expected = torch.autograd.grad((losses * WEIGHTS * now).sum(), shared)
    ImageStep(network, adamw(network), WEIGHTS, gradnorm=gradnorm)(*batches[2], step=1)
    assert_close([p.grad for p in shared], list(expected), rtol=1e-4, atol=1e-6)


def test_the_log_receives_the_diagnostics(batches: list[Batch]) -> None:
    log = ConflictLog(3, 3)
    trained(
        batches,
        lambda n: ImageStep(n, adamw(n), WEIGHTS, combiner=combiner_of(n, "mgda"), log=log),
    )
    conflicts = log.take(skipped=0)
    assert conflicts is not None
    assert conflicts.steps == 3
    assert conflicts.pair_cosine.shape == (3, 3)


def test_parts_are_the_backbone_from_the_image_on() -> None:
    parts = shared_parts(make_network())
    assert [part.group for part in parts] == ["stage1"] * 2 + ["stage2"] * 2 + ["linear"] * 2
    assert [part.width for part in parts] == [3 * 9 * 4, 4, 4 * 9 * 5, 5, 5 * 4 * 7, 7]
