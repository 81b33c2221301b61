"""Conflict is real for a shared network: opposed hinges do not fit through what aligned ones do.

A pair of tasks, a shared bottom of one ReLU unit, and linear towers that may flip the sign. Whoever
reads the direction that both tasks need must choose a side: psi(t) wants the hinge to open to the
right, psi(-t) to the left, and the best compromise is a line, which leaves each task's even part,
`Response.even_share` = 27 % of its variance. Labels that are merely negatively correlated cost
nothing: the tower turns the sign.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_synth import Plan, load_plan
from data_synth.block import draw_block
from data_synth.response import Response
from data_synth.world import World
from tests.marks import slow_except

ROWS = 4096
SE = 0.77 / np.sqrt(ROWS)  # of an R2 at most: 2 sqrt(R2) (1 - R2) / sqrt(n)
PLAN = """
name: pair
score: {{items: 0, time: 0, one_sided: {one_sided}}}
customers: {{persistence: 0, rows_each: 1}}
features: {{items: [], lists: [], categorical: [], numeric: 0, demographics: false}}
tasks:
  a: {{kind: binary, rate: 0.3}}
  b: {{kind: binary, rate: 0.3}}
relations: {{between: {relation}}}
"""
FLOOR = Response(1.0).floor  # the least relation of two hinges: their directions are opposed
Pair = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[float, float], Pair]:
    """State (R, K) and true scores (R, 2) of a pair, and what task a reads of the state (K,)."""

    def draw(one_sided: float, relation: float) -> Pair:
        path = tmp_path / "pair.yaml"
        path.write_text(PLAN.format(one_sided=one_sided, relation=relation))
        world = World.of(load_plan(path))
        block = draw_block(world, 0)
        scores = torch.tensor(block.scores[:ROWS])
        standard = (scores - scores.mean(0)) / scores.std(0, correction=0)
        return torch.tensor(block.state.u[:ROWS]), standard, torch.tensor(world.reading[0])

    return draw


class Shared(nn.Module):
    """One hidden unit for all tasks, a linear tower each."""

    def __init__(self, width: int, tasks: int) -> None:
        super().__init__()
        self.bottom, self.towers = nn.Linear(width, 1), nn.Linear(1, tasks)

    def forward(self, x: Tensor) -> Tensor:
        return self.towers(torch.relu(self.bottom(x)))


def fit(x: Tensor, y: Tensor, starts: int = 3) -> tuple[Shared, np.ndarray]:
    """The best of some starts, and R2 by task."""
    results: list[tuple[float, Shared]] = []
    for seed in range(starts):
        torch.manual_seed(seed)
        net = Shared(x.shape[1], y.shape[1])
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def loss(net: Shared = net, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = ((net(x) - y) ** 2).mean(0).sum()
            value.backward()
            return value

        optimizer.step(loss)
        results.append((loss().item(), net))
    net = min(results, key=lambda one: one[0])[1]
    with torch.no_grad():
        return net, (1 - ((net(x) - y) ** 2).mean(0)).numpy()  # y has variance 1


def alone(x: Tensor, y: Tensor) -> np.ndarray:
    return np.concatenate([fit(x, y[:, [task]])[1] for task in (0, 1)])


def test_opposed_hinges_do_not_share_a_unit(pair: Callable[[float, float], Pair]) -> None:
    x, y, _ = pair(1.0, FLOOR)
    assert (alone(x, y) > 0.99).all()  # one unit is all that each needs
    shared = fit(x, y)[1]
    compromise = 1 - Response(1.0).even_share
    assert compromise == pytest.approx(0.733, abs=5e-4)
    assert shared.mean() < compromise + 4.5 * SE
    assert shared.mean() > compromise - 4.5 * SE


def test_aligned_hinges_share_it(pair: Callable[[float, float], Pair]) -> None:
    x, y, _ = pair(1.0, 1.0)
    assert (fit(x, y)[1] > 0.99).all()


def test_opposed_lines_share_it_too(pair: Callable[[float, float], Pair]) -> None:
    """Correlation -1 of the labels, and nothing is lost: one tower is the other's opposite."""
    x, y, _ = pair(0.0, -1.0)
    net, shared = fit(x, y)
    assert (shared > 0.99).all()
    a, b = net.towers.weight[:, 0].tolist()
    assert a * b < 0


@pytest.mark.parametrize("relation", slow_except([0.8], [0.47, 0.8]))
def test_lines_fit_alike_whatever_the_sign_of_their_correlation(
    relation: float, pair: Callable[[float, float], Pair]
) -> None:
    """The best line for both has (1 + |rho|) / 2 of either's variance."""
    for sign in (-1, 1):
        x, y, _ = pair(0.0, sign * relation)
        assert abs(fit(x, y)[1].mean() - (1 + relation) / 2) < 4.5 * SE


def test_a_unit_serves_two_tasks_no_better_than_the_correlation_of_their_scores(
    pair: Callable[[float, float], Pair],
) -> None:
    """With linear towers R2 sum to the greatest eigenvalue of the correlations at most, 1 + |rho|.

    So what costs is not the sign of a relation but how far the scores are from +-1: hinges make
    the very same inputs, opposed, as far as -0.47. A relation of -0.47 with lines costs as much.
    """
    for one_sided, relation in ((1.0, FLOOR), (0.0, FLOOR), (1.0, -FLOOR)):
        x, y, _ = pair(one_sided, relation)
        assert fit(x, y)[1].sum() < 1 - FLOOR + 2 * 4.5 * SE


@pytest.mark.slow  # many rows
def test_the_preset(plan_of: Callable[..., Plan]) -> None:
    """Two camps in one unit lose, to a camp alone and to tasks that are all of one camp."""

    def mean_r2(*overrides: str, tasks: slice = slice(None)) -> float:
        bare = ("score.items=0.0", "score.time=0.0", "features.items=[]", "customers.rows_each=1.0")
        block = draw_block(World.of(plan_of("conflict", *bare, *overrides)), 0)
        scores = torch.tensor(block.scores[:ROWS, tasks])
        standard = (scores - scores.mean(0)) / scores.std(0, correction=0)
        return float(fit(torch.tensor(block.state.u[:ROWS]), standard)[1].mean())

    both = mean_r2()
    assert mean_r2("relations.between=0.7") - both > 0.1  # all eight in one camp
    assert mean_r2(tasks=slice(0, 3)) - both > 0.1  # click, cart, purchase


def gradients(x: Tensor, y: Tensor, unit: Tensor) -> list[Tensor]:
    """Each task's gradient on the shared unit (K + 1,), its tower at its own optimum there."""
    results = []
    for target in y.T:
        weights = unit.clone().requires_grad_()
        hidden = torch.relu(x @ weights[:-1] + weights[-1])
        hidden = hidden - hidden.mean()
        tower = ((hidden * target).mean() / (hidden**2).mean()).detach()
        loss = ((target - tower * hidden) ** 2).mean()
        results.append(torch.autograd.grad(loss, weights)[0])
    return results


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


@pytest.mark.parametrize("threshold", slow_except([0.5], [0.25, 0.5, 1.0]))
@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize(
    ("one_sided", "relation", "expected"), [(1.0, FLOOR, -1), (1.0, 1.0, 1), (0.0, -1.0, 1)]
)
def test_gradients_on_the_shared_unit(
    threshold: float,
    side: float,
    one_sided: float,
    relation: float,
    expected: int,
    pair: Callable[[float, float], Pair],
) -> None:
    """A unit that reads what both tasks need, open over most of the rows, whatever the towers.

    Opposed hinges pull it in opposed directions: one to close its half, the other to become a line.
    """
    x, y, reading = pair(one_sided, relation)
    unit = torch.cat([side * reading, torch.tensor([threshold])])
    a, b = gradients(x, y, unit)
    assert min(a.norm(), b.norm()) > 0.01  # both want it changed
    # The state's other five coordinates are noise of 1/sqrt(rows) next to the two that matter.
    assert expected * cosine(a, b) > 0.9


@pytest.mark.parametrize(("one_sided", "relation"), [(0.0, FLOOR), (1.0, -FLOOR)])
def test_the_same_correlation_alone_does_not_oppose_gradients(
    one_sided: float, relation: float, pair: Callable[[float, float], Pair]
) -> None:
    """Lines of the hinges' relation, and hinges of its opposite, pull across each other there."""
    x, y, reading = pair(one_sided, relation)
    for side in (-1, 1):
        for threshold in (0.25, 0.5, 1.0):
            unit = torch.cat([side * reading, torch.tensor([threshold])])
            # Between 150 and 30 degrees; it is 76 to 94, where opposed hinges have 180.
            assert abs(cosine(*gradients(x, y, unit))) < 0.85


def test_they_stay_opposed_where_both_have_settled(pair: Callable[[float, float], Pair]) -> None:
    """At the joint optimum gradients cancel; only conflict leaves something to cancel."""
    sizes = {}
    for name, one_sided, relation in (("hinges", 1.0, FLOOR), ("lines", 0.0, -1.0)):
        x, y, _ = pair(one_sided, relation)
        net, _ = fit(x, y)
        losses = ((net(x) - y) ** 2).mean(0)
        shared = list(net.bottom.parameters())
        a, b = (
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)])
            for loss in losses
        )
        scale = net.towers.weight.abs().mean().item()  # a unit may be small and its towers large
        sizes[name] = min(a.norm().item(), b.norm().item()) / scale
        if name == "hinges":
            assert cosine(a, b) < -0.99
    assert sizes["hinges"] > 20 * sizes["lines"]
