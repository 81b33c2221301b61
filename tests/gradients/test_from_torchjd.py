from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cvxpy
import pytest
import torch
import torchjd.aggregation as jd
from torch import Tensor
from torchjd.aggregation import MGDAWeighting

from recsys_mtl.gradients.combiner import Combiner
from recsys_mtl.gradients.combiners import make_combiner
from recsys_mtl.gradients.draws import own_draws
from recsys_mtl.gradients.from_torchjd import TORCHJD, GradVac
from recsys_mtl.gradients.partition import Partition
from tests.combiners import WHOLE

CPU = torch.device("cpu")
SEED, STEP = 5, 3
THEIRS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "pcgrad": jd.PCGrad,
    "gradvac": jd.GradVac,
    "mgda": jd.MGDA,
    "cagrad": lambda: jd.CAGrad(c=0.4),
    "imtl_g": jd.IMTLG,
    "aligned_mtl": jd.AlignedMTL,
    "dualproj": jd.DualProj,
    "upgrad": jd.UPGrad,
    "fairgrad": lambda: jd.FairGrad(alpha=2.0),
    "graddrop": jd.GradDrop,
    "random": jd.Random,
}
RANDOM = {"pcgrad", "gradvac", "graddrop", "random"}
SOLVED = {"cagrad": 1e-6, "fairgrad": 1e-6}
"""Iterative solvers stop some 1e-8 from the solution, by inputs that differ in rounding."""


def drawn(seed: int, tasks: int = 3, columns: int = 30) -> Tensor:
    """(T, d) float64 in conflict, of total square 1, as torchjd's tolerances are absolute."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(tasks, columns, generator=generator, dtype=torch.float64)
    g[1] = g[1] - 0.8 * g[0]
    return g / g.norm()


def made(name: str, *blocks: Tensor, one_block: bool = False, **options: Any) -> Combiner:
    widths = [block.shape[1] for block in blocks]
    if name in RANDOM:
        options = {"seed": SEED, **options}
    partition = Partition.single(widths) if one_block else Partition.each(widths)
    return make_combiner(name, len(blocks[0]), partition, **options)


def combined(name: str, *blocks: Tensor, **options: Any) -> list[Tensor]:
    everybody = torch.ones(len(blocks[0]), dtype=torch.bool)
    combination = made(name, *blocks, **options).combine(blocks, everybody, step=STEP)
    assert combination.problem is None
    return combination.gradients


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_equals_torchjd_on_one_block(seed: int, name: str, tasks: int) -> None:
    g = drawn(seed, tasks)
    with own_draws(SEED, STEP, CPU):
        expected = THEIRS[name]()(g)
    tolerance = SOLVED.get(name, 1e-10)
    torch.testing.assert_close(combined(name, g)[0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", sorted(set(THEIRS) - set(WHOLE)))
def test_equals_torchjd_on_each_block(seed: int, name: str) -> None:
    blocks = [drawn(seed), drawn(seed + 1, columns=7)]
    with own_draws(SEED, STEP, CPU):
        # A new one for each block, as GradVac's averages are each block's own.
        expected = [THEIRS[name]()(block) for block in blocks]
    for direction, block in zip(combined(name, *blocks), expected, strict=True):
        tolerance = SOLVED.get(name, 1e-10)
        torch.testing.assert_close(direction, block, rtol=tolerance, atol=tolerance)


def test_every_method_is_compared() -> None:
    assert set(THEIRS) | {"nash_mtl"} == set(TORCHJD)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_methods_of_full_gradients_refuse_blocks(seed: int, name: str) -> None:
    with pytest.raises(ValueError, match=r"partition: expected one block.*found 2"):
        made(name, drawn(seed), drawn(seed))


def test_nash_solves_its_equation(seed: int) -> None:
    for scale in (1e-4, 1.0, 1e3):
        g = drawn(seed) * scale
        (direction,) = combined("nash_mtl", g, max_norm=0)
        weights = torch.linalg.lstsq(g.T, direction).solution
        torch.testing.assert_close(
            weights * (g @ direction), torch.ones_like(weights), rtol=1e-6, atol=0
        )
        torch.testing.assert_close(
            direction.norm(), torch.tensor(3.0).sqrt().double(), rtol=1e-6, atol=0
        )
        (short,) = combined("nash_mtl", g)
        torch.testing.assert_close(short, direction / direction.norm(), rtol=1e-6, atol=1e-9)


def test_fairgrad_solves_its_equation(seed: int) -> None:
    for scale in (1e-4, 1.0, 1e3):
        g = drawn(seed) * scale
        (direction,) = combined("fairgrad", g, alpha=3.0)
        weights = torch.linalg.lstsq(g.T, direction).solution
        torch.testing.assert_close(g @ direction, weights ** (-1 / 3), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", sorted(set(TORCHJD) - set(WHOLE)))
def test_small_gradients_are_combined_as_large_ones(seed: int, name: str) -> None:
    """torchjd alone takes them for zero: CAGrad stops, UPGrad and DualProj become the mean."""
    g = drawn(seed)
    (small,), (large,) = combined(name, g * 1e-5), combined(name, g)
    tolerance = SOLVED.get(name, 1e-9)
    torch.testing.assert_close(small * 1e5, large, rtol=tolerance, atol=tolerance)


def test_small_gradients_are_zero_to_torchjd(seed: int) -> None:
    g = drawn(seed) * 1e-5
    assert jd.CAGrad(c=0.4)(g).norm() == 0
    torch.testing.assert_close(jd.UPGrad()(g), g.mean(0))


def with_one_converged(seed: int) -> Tensor:
    """Three tasks, one of which has next to nothing left to learn."""
    g = drawn(seed, 3)
    g[1] *= 1e-6
    return g


@pytest.mark.parametrize("seed", range(2))
def test_cagrad_continues_when_a_task_has_converged(seed: int) -> None:
    """torchjd alone stops; the paper's optimum (its equation 4) comes from another solver."""
    g, c = with_one_converged(seed), 0.4
    assert jd.CAGrad(c=c)(g / g.norm()).norm() == 0
    (direction,) = combined("cagrad", g, c=c)
    mean = g.mean(0)
    radius = c * mean.norm()

    def dual(first: float, third: float) -> float:  # the second weight is the rest to 1
        mixed = first * g[0] + (1 - first - third) * g[1] + third * g[2]
        return float(mixed @ mean + radius * mixed.norm())

    shares = [0.0, *torch.logspace(-9, 0, 91).tolist()]
    best = min(dual(a, b) for a in shares for b in shares if a + b <= 1)
    reached = float((g @ direction).min())
    assert float((direction - mean).norm()) == pytest.approx(float(radius), rel=1e-4)
    assert reached <= best + 1e-12  # weak duality
    assert reached == pytest.approx(best, rel=1e-2)


def test_cagrad_is_the_mean_where_a_gradient_is_rounding(seed: int) -> None:
    g = drawn(seed, 3)
    g[1] *= 1e-12
    torch.testing.assert_close(combined("cagrad", g)[0], g.mean(0))
    opposite = torch.stack([g[0], -g[0]])
    assert combined("cagrad", opposite)[0].norm() <= 1e-12 * g[0].norm()


def test_mgda_by_directions_does_not_follow_the_shortest(seed: int) -> None:
    g = with_one_converged(seed)
    (plain,) = combined("mgda", g)
    (direction,) = combined("mgda", g, normalize=True)
    units = g / g.norm(dim=1, keepdim=True)
    expected = MGDAWeighting(1e-3, 100)(units @ units.T) @ g
    torch.testing.assert_close(direction, expected, rtol=1e-8, atol=0)
    assert plain.norm() < 1e-4 * direction.norm()


@pytest.mark.parametrize("name", sorted(TORCHJD))
def test_zero_gradients_are_left_out(seed: int, name: str) -> None:
    g = drawn(seed, 4)
    g[2] = 0
    others = [0, 1, 3]
    torch.testing.assert_close(
        combined(name, g)[0], combined(name, g[others])[0], rtol=1e-10, atol=1e-10
    )
    assert combined(name, g)[0].norm() > 0
    assert torch.equal(combined(name, torch.zeros(3, 4))[0], torch.zeros(4))


def test_a_zero_row_stops_torchjd(seed: int) -> None:
    g = drawn(seed, 4)
    g[2] = 0
    assert jd.MGDA()(g).norm() < 1e-3 * g.norm()
    assert jd.CAGrad(c=0.4)(g).norm() == 0


@pytest.mark.parametrize("name", sorted(TORCHJD))
def test_leaves_the_global_generator_alone(seed: int, name: str) -> None:
    before = torch.get_rng_state()
    combined(name, drawn(seed, 5))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_draws_follow_the_seed_and_the_step(seed: int, name: str) -> None:
    g = drawn(seed, 6)
    everybody = torch.ones(6, dtype=torch.bool)

    def answer(own: int, step: int) -> Tensor:
        return made(name, g, seed=own).combine([g], everybody, step=step).gradients[0]

    assert torch.equal(answer(1, 1), answer(1, 1))
    assert not torch.equal(answer(1, 1), answer(1, 2))
    assert not torch.equal(answer(1, 1), answer(2, 1))


def test_gradvac_keeps_torchjds_averages(seed: int) -> None:
    theirs, everybody = jd.GradVac(beta=0.3), torch.ones(3, dtype=torch.bool)
    ours = GradVac(3, Partition.single([30]), seed=SEED, beta=0.3)
    for step in range(4):
        g = drawn(seed + step)
        with own_draws(SEED, step, CPU):
            expected = theirs(g)
        direction = ours.combine([g], everybody, step=step).gradients[0]
        torch.testing.assert_close(direction, expected, rtol=1e-10, atol=1e-10)
    assert (ours.averages[0] != 0).sum() == 6
    assert set(ours.state_dict()) == {"skipped", "averages"}


def test_gradvac_leaves_absent_tasks_averages(seed: int) -> None:
    ours = GradVac(4, Partition.each([30, 30]))
    ours.combine([drawn(seed, 4), drawn(seed + 1, 4)], torch.ones(4, dtype=torch.bool), step=0)
    before = ours.averages.clone()
    blocks = [drawn(seed + 2, 4), drawn(seed + 3, 4)]
    blocks[1][3] = 0  # absent from the second block only
    ours.combine(blocks, torch.tensor([True, False, True, True]), step=1)
    moved = ours.averages != before
    assert not moved[:, 1].any()
    assert not moved[:, :, 1].any()
    assert moved[0].sum() == 6
    assert moved[1].sum() == 2


def test_imtl_g_may_step_against_every_task() -> None:
    """The weights are scaled to sum to 1, whatever the sign of their sum."""
    angles = torch.tensor([0.0, 1.0, 0.4], dtype=torch.float64)
    lift = torch.tensor([0.3, 0.3, 0.5], dtype=torch.float64)
    units = torch.stack([angles.cos(), angles.sin(), lift], 1)
    units = units / units.norm(dim=1, keepdim=True)
    g = units * torch.tensor([[1.0], [1.0], [0.05]], dtype=torch.float64)
    (direction,) = combined("imtl_g", g)
    assert (g @ direction < 0).all()
    assert (g @ combined("config", g)[0] > 0).all()


@pytest.mark.parametrize("error", [ValueError, torch.linalg.LinAlgError])
def test_a_failing_solver_skips_the_step(
    seed: int, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: object, __: Tensor) -> Tensor:
        raise error("no luck")

    combiner = made("upgrad", drawn(seed))
    monkeypatch.setattr(jd.UPGradWeighting, "forward", fail)
    combination = combiner.combine([drawn(seed)], torch.ones(3, dtype=torch.bool), step=0)
    assert combination.problem == "UPGrad: no weights in block 0: no luck"
    assert torch.equal(combination.gradients[0], torch.zeros(30, dtype=torch.float64))
    assert combiner.skipped == 1


def test_a_failing_cagrad_skips_the_step(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, __: object) -> None:
        raise cvxpy.error.SolverError("no luck")

    combiner = made("cagrad", drawn(seed))
    monkeypatch.setattr(cvxpy.Problem, "solve", fail)
    combination = combiner.combine([drawn(seed)], torch.ones(3, dtype=torch.bool), step=0)
    assert combination.problem == "CAGrad: no weights in block 0: no luck"


@pytest.mark.slow
def test_the_package_imports_without_torchjds_extras() -> None:
    """Only the methods that use them need cvxpy, scipy, quadprog and qpsolvers."""
    extras = ["cvxpy", "quadprog", "qpsolvers"]
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import recsys_mtl.gradients"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_that_are_not_finite_skip_the_step(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    combiner = made("upgrad", drawn(seed))
    monkeypatch.setattr(jd.UPGradWeighting, "forward", lambda _, g: g[0] * torch.nan)
    combination = combiner.combine([drawn(seed)], torch.ones(3, dtype=torch.bool), step=0)
    assert combination.problem == "UPGrad gave weights that are not finite"
    assert combiner.skipped == 1


def test_graddrop_takes_one_sign_an_entry(seed: int) -> None:
    g = drawn(seed, 4)
    (direction,) = combined("graddrop", g)
    up, down = g.clamp_min(0).sum(0), g.clamp_max(0).sum(0)
    nearer = torch.minimum((direction - up).abs(), (direction - down).abs())
    assert nearer.max() < 1e-15
    assert ((direction - up).abs() < 1e-15).any()
    assert ((direction - down).abs() < 1e-15).any()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fairgrad", {"alpha": 0}),
        ("nash_mtl", {"max_norm": -1}),
        ("aligned_mtl", {"scale_mode": "max"}),
        ("cagrad", {"c": -1}),
        ("mgda", {"epsilon": 0}),
        ("gradvac", {"beta": 2}),
    ],
)
def test_options_outside_their_range(seed: int, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        made(name, drawn(seed), **options)
