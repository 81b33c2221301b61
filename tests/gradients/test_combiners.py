"""What holds for every combiner."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor

from recsys_mtl.gradients.combiner import Combiner
from recsys_mtl.gradients.combiners import COMBINERS, make_combiner
from recsys_mtl.gradients.partition import Partition
from tests.combiners import WHOLE

WIDTHS = [6, 11, 3]
TASKS = 4
EVERYBODY = torch.ones(TASKS, dtype=torch.bool)
each_method = pytest.mark.parametrize("name", COMBINERS)


def drawn(seed: int, tasks: int = TASKS) -> list[Tensor]:
    """Gradients of which some are in conflict."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [torch.randn(tasks, width, generator=generator) for width in WIDTHS]
    for block in blocks:
        block[-1] -= 1.5 * block[0]
    return blocks


def made(name: str, tasks: int = TASKS, *, one_block: bool = False) -> Combiner:
    if one_block or name in WHOLE:
        return make_combiner(name, tasks, Partition.single(WIDTHS))
    return make_combiner(name, tasks, Partition.each(WIDTHS))


def same(actual: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def close(actual: list[Tensor], expected: list[Tensor]) -> None:
    # The Gram matrices of other shapes round otherwise in float32; solvers amplify that.
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def directions(seed: int) -> dict[str, Tensor]:
    by_method = {}
    for name in COMBINERS:
        combined = made(name, one_block=True).combine(drawn(seed), EVERYBODY, step=0)
        assert combined.problem is None
        flat = torch.cat(combined.gradients)
        by_method[name] = flat / flat.norm()
    return by_method


def test_all_are_pairwise_distinct_on_conflicting_gradients(seed: int) -> None:
    for (a, one), (b, other) in itertools.combinations(directions(seed).items(), 2):
        if {a, b} != {"config", "imtl_g"}:
            assert (one - other).norm() > 1e-3, (a, b)


def test_config_and_imtl_g_differ_in_length_alone(seed: int) -> None:
    """Both seek one projection on all unit gradients; IMTL-G is shorter, and may turn round."""
    by_method = directions(seed)
    torch.testing.assert_close(by_method["config"], by_method["imtl_g"], rtol=1e-4, atol=1e-5)
    ours = [
        made(name, one_block=True).combine(drawn(seed), EVERYBODY, step=0).gradients[0].norm()
        for name in ("config", "imtl_g")
    ]
    assert ours[0] > 1.1 * ours[1]


@each_method
def test_shapes_types_and_no_graph(seed: int, name: str) -> None:
    gradients = [rows.requires_grad_() for rows in drawn(seed)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        combined = made(name).combine(gradients, EVERYBODY, step=0)
    with torch.no_grad():
        assert same(combined.gradients, made(name).combine(gradients, EVERYBODY, step=0).gradients)
    for block, width in zip(combined.gradients, WIDTHS, strict=True):
        assert block.shape == (width,)
        assert block.dtype == torch.float32
        assert not block.requires_grad
        assert block.abs().sum() > 0
    assert combined.problem is None
    assert combined.diagnostics is not None


@each_method
def test_weights_and_lengths_of_the_diagnostics(seed: int, name: str) -> None:
    gradients, combiner = drawn(seed), made(name)
    combined = combiner.combine(gradients, EVERYBODY, step=0)
    assert combined.diagnostics is not None
    if (weights := combined.diagnostics.weights) is not None:
        close(combiner.partition.mix(gradients, weights), combined.gradients)
    if combiner.partition.blocks == len(WIDTHS):
        length = torch.stack([block.norm() for block in combined.gradients]).double()
        torch.testing.assert_close(combined.diagnostics.length, length, rtol=1e-4, atol=1e-5)


@each_method
def test_absent_tasks_are_left_out_unread(seed: int, name: str) -> None:
    present = torch.tensor([True, False, True, True])
    gradients = drawn(seed)
    alone = made(name, 3).combine([rows[present] for rows in gradients], EVERYBODY[:3], step=0)
    for rows in gradients:
        rows[1] = torch.nan
    combined = made(name).combine(gradients, present, step=0)
    assert combined.problem is None
    close(combined.gradients, alone.gradients)
    assert combined.diagnostics is not None
    if (weights := combined.diagnostics.weights) is not None:
        assert (weights[:, 1] == 0).all()


@each_method
def test_no_task_present(seed: int, name: str) -> None:
    combiner = made(name)
    state = copy.deepcopy(combiner.state_dict())
    gradients = [rows * torch.nan for rows in drawn(seed)]
    combined = combiner.combine(gradients, ~EVERYBODY, step=0)
    assert combined.problem is None
    assert same(combined.gradients, [torch.zeros(width) for width in WIDTHS])
    assert all(torch.equal(a, state[key]) for key, a in combiner.state_dict().items())


@each_method
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_skips_the_step(seed: int, name: str, value: float) -> None:
    combiner, gradients = made(name), drawn(seed)
    combiner.combine(gradients, EVERYBODY, step=0)
    state = copy.deepcopy(combiner.state_dict())
    gradients[1][2, 4] = value
    combined = combiner.combine(gradients, EVERYBODY, step=1)
    assert combined.problem == "the gradients of tasks [2] are not finite, or too long to square"
    assert combined.diagnostics is None
    assert same(combined.gradients, [torch.zeros(width) for width in WIDTHS])
    state["skipped"] += 1
    assert all(torch.equal(a, state[key]) for key, a in combiner.state_dict().items())
    assert combiner.skipped == 1


@each_method
def test_one_task_keeps_its_direction(seed: int, name: str) -> None:
    gradients = [rows[:1] for rows in drawn(seed)]
    for combiner, given, present in (
        (made(name, 1, one_block=True), gradients, EVERYBODY[:1]),
        (made(name, one_block=True), drawn(seed), torch.tensor([True, False, False, False])),
    ):
        combined = torch.cat(combiner.combine(given, present, step=0).gradients)
        own = torch.cat(gradients, 1)[0]
        torch.testing.assert_close(combined / combined.norm(), own / own.norm())


@pytest.mark.parametrize("name", ["sum", "cagt", "config", "pcgrad", "gradvac", "graddrop"])
def test_one_task_keeps_its_gradient(seed: int, name: str) -> None:
    gradients = [rows[:1] for rows in drawn(seed)]
    combined = made(name, 1).combine(gradients, EVERYBODY[:1], step=0).gradients
    close(combined, [rows[0] for rows in gradients])


@each_method
def test_state_dict_resumes_identically(seed: int, name: str) -> None:
    combiner, other = made(name), made(name)
    for step in range(3):
        combiner.combine(drawn(seed + step), EVERYBODY, step=step)
    combiner.combine([rows * torch.nan for rows in drawn(seed)], EVERYBODY, step=3)
    other.load_state_dict(combiner.state_dict())
    assert other.skipped == 1
    for step in range(4, 6):
        ours = combiner.combine(drawn(seed + step), EVERYBODY, step=step).gradients
        assert same(other.combine(drawn(seed + step), EVERYBODY, step=step).gradients, ours)


def test_sum_is_the_sum(seed: int) -> None:
    gradients = drawn(seed)
    close(
        made("sum").combine(gradients, EVERYBODY, step=0).gradients, [g.sum(0) for g in gradients]
    )


def test_shapes_that_were_not_declared(seed: int) -> None:
    combiner, gradients = made("sum"), drawn(seed)
    with pytest.raises(ValueError, match=r"gradients: expected shapes .* found"):
        combiner.combine(gradients[:2], EVERYBODY, step=0)
    with pytest.raises(ValueError, match=r"gradients: expected shapes .* found"):
        combiner.combine([rows[:3] for rows in gradients], EVERYBODY, step=0)
    with pytest.raises(ValueError, match=r"present: expected 4 flags, found \[3\]"):
        combiner.combine(gradients, EVERYBODY[:3], step=0)


def test_unknown_names_and_options() -> None:
    with pytest.raises(ValueError, match=r"combiner: expected one of sum, cagt, .*; found pcgard"):
        made("pcgard")
    with pytest.raises(TypeError, match="temprature"):
        make_combiner("cagt", 2, Partition.single([1]), temprature=1.0)


def test_no_parameters() -> None:
    combiner = make_combiner("sum", 2, Partition.single([]))
    assert combiner.combine([], EVERYBODY[:2], step=0).gradients == []
