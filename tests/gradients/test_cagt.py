from __future__ import annotations

import itertools
import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_mtl.gradients.cagt import CAGT
from recsys_mtl.gradients.partition import Partition

WIDTHS = (5, 9, 2, 17)
ATTENTIONS = ("cosine", "cosine_squared", "euclidean")
PARTITIONS = {
    "all": Partition.single(WIDTHS),
    "expert": Partition.grouped(WIDTHS, [0, 0, 1, 1]),
    "parameter": Partition.each(WIDTHS),
    "fixed": Partition.fixed(WIDTHS, 4),
}
COLUMNS = {
    "all": [list(range(33))],
    "expert": [list(range(14)), list(range(14, 33))],
    "parameter": [list(range(5)), list(range(5, 14)), [14, 15], list(range(16, 33))],
    "fixed": [list(range(a, min(a + 4, 33))) for a in range(0, 33, 4)],
}


def literal_rate(base: float, conflicting: float, t: int) -> float:
    if t < 500:
        return min(1.5 * base, 0.5)
    if t < 2000:
        return base
    return base * (1 + 0.5 * conflicting) * max(0.5, 1 - (t - 2000) / 10000)


def literal(
    flat: np.ndarray,
    columns: list[list[int]],
    *,
    step: int,
    attention: str,
    threshold: float,
    temperature: float = 0.6,
    coefficient: float = 0.2,
    adaptive: bool = False,
    preserve_norm: bool = False,
    eps: float = 1e-12,
) -> np.ndarray:
    """The paper's algorithms 1 to 3, as settled in the spec, in loops over float64 vectors."""
    tasks = len(flat)
    size = max(len(block) for block in columns)
    blocks = np.zeros((tasks, len(columns), size))  # zero-padded
    for k, block in enumerate(columns):
        blocks[:, k, : len(block)] = flat[:, block]
    units = np.zeros_like(blocks)
    for i, k in itertools.product(range(tasks), range(len(columns))):
        norm = np.sqrt((blocks[i, k] ** 2).sum())
        units[i, k] = blocks[i, k] / norm if norm > 0 else 0

    conflict = []
    for k, i in itertools.product(range(len(columns)), range(tasks)):
        agreement = [float(units[i, k] @ units[j, k]) for j in range(tasks) if j != i]
        if sum(agreement) / (tasks - 1) < threshold:
            conflict.append((i, k))
    rate = coefficient
    if adaptive:
        rate = literal_rate(coefficient, len(conflict) / (tasks * len(columns)), step)

    new = blocks.copy()
    for i, k in conflict:
        scores = {}
        for j in range(tasks):
            c = float(units[i, k] @ units[j, k])
            if j == i:
                continue
            if attention == "cosine":
                scores[j] = c
            elif attention == "cosine_squared":
                scores[j] = c * abs(c)
            else:
                scores[j] = -float(np.sqrt(((units[i, k] - units[j, k]) ** 2).sum()))
        total = sum(math.exp(s / temperature) for s in scores.values())
        mixture = np.zeros(size)
        for j, s in scores.items():
            mixture += math.exp(s / temperature) / total * blocks[j, k]
        norm = np.sqrt((blocks[i, k] ** 2).sum())
        rescaled = norm / (np.sqrt((mixture**2).sum()) + eps) * mixture
        new[i, k] = (1 - rate) * blocks[i, k] + rate * rescaled
        if preserve_norm:
            new[i, k] *= norm / (np.sqrt((new[i, k] ** 2).sum()) + eps)

    merged = np.zeros(flat.shape[1])
    for k, block in enumerate(columns):
        merged[block] = new[:, k, : len(block)].sum(0)
    return merged


def drawn(seed: int, tasks: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-2, 1, tasks, dtype=torch.float64).unsqueeze(1)
    return [
        scales * torch.randn(tasks, w, generator=generator, dtype=torch.float64) for w in WIDTHS
    ]


def combined(gradients: list[Tensor], partition: Partition, step: int, **options: Any) -> Tensor:
    tasks = len(gradients[0])
    combiner = CAGT(tasks, partition, **options)
    combination = combiner.combine(gradients, torch.ones(tasks, dtype=torch.bool), step=step)
    assert combination.problem is None
    return torch.cat(combination.gradients)


def close(actual: Tensor, expected: np.ndarray) -> bool:
    return bool(np.allclose(actual.numpy(), expected, rtol=1e-10, atol=1e-10))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("block", PARTITIONS)
@pytest.mark.parametrize("threshold", [-0.3, 0.0, 0.4, 1.0])
@pytest.mark.parametrize("tasks", [2, 5])
def test_equals_the_literal_paper(
    seed: int, attention: str, block: str, threshold: float, tasks: int
) -> None:
    gradients = drawn(seed, tasks)
    flat = torch.cat(gradients, 1).numpy()
    options = {"attention": attention, "threshold": threshold}
    for preserve_norm, adaptive, step in [
        (False, False, 3000),
        (False, True, 10),
        (True, True, 1000),
        (False, True, 2500),
    ]:
        more = {**options, "adaptive": adaptive, "preserve_norm": preserve_norm}
        expected = literal(flat, COLUMNS[block], step=step, **more)
        assert close(combined(gradients, PARTITIONS[block], step, **more), expected)
    if threshold == 1.0:  # everybody conflicts, so the comparison was not of plain sums
        assert not close(torch.as_tensor(flat.sum(0)), expected)


@pytest.mark.parametrize(("temperature", "coefficient"), [(0.05, 0.5), (0.3, 0.3), (5.0, 0.1)])
def test_equals_the_literal_paper_at_other_sharpness(
    seed: int, temperature: float, coefficient: float
) -> None:
    gradients = drawn(seed, 4)
    options: dict[str, Any] = {
        "temperature": temperature,
        "coefficient": coefficient,
        "attention": "cosine_squared",
        "threshold": 0.1,
        "adaptive": False,
        "eps": 1e-3,
    }
    expected = literal(torch.cat(gradients, 1).numpy(), COLUMNS["fixed"], step=0, **options)
    assert close(combined(gradients, PARTITIONS["fixed"], 0, **options), expected)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_zero_gradients_have_no_direction(seed: int, attention: str) -> None:
    gradients = drawn(seed, 4)
    for rows in gradients[:2]:
        rows[1] = 0
    options: dict[str, Any] = {"attention": attention, "threshold": 0.3, "adaptive": False}
    expected = literal(torch.cat(gradients, 1).numpy(), COLUMNS["parameter"], step=0, **options)
    assert close(combined(gradients, PARTITIONS["parameter"], 0, **options), expected)


def test_float32_is_as_good_as_its_gram_matrices(seed: int) -> None:
    gradients = drawn(seed, 5)
    exact = combined(gradients, PARTITIONS["fixed"], 0)
    gradients32 = combined([rows.float() for rows in gradients], PARTITIONS["fixed"], 0)
    assert gradients32.dtype == torch.float32
    # Lengths up to 10 times 33 entries in blocks of 4, squared and rooted: a few roundings.
    torch.testing.assert_close(gradients32.double(), exact, rtol=1e-5, atol=1e-5)


def test_few_passes_over_the_gradients(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys_mtl.gradients.partition import Segment

    read = 0
    view = Segment.of

    def counting(segment: Segment, rows: Tensor) -> Tensor:
        nonlocal read
        read += view(segment, rows).numel()
        return view(segment, rows)

    monkeypatch.setattr(Segment, "of", counting)
    gradients = drawn(seed, 3)
    combined(gradients, PARTITIONS["fixed"], 0)
    assert read == 2 * sum(rows.numel() for rows in gradients)


# Two tasks in one block.


def pair(a: float, b: float, angle: float) -> Tensor:
    turned = [b * math.cos(angle), b * math.sin(angle)]
    return torch.tensor([[a, 0.0], turned], dtype=torch.float64)


def moved(g: Tensor, rate: float, **options: Any) -> Tensor:
    """(2, 2) the tasks' new gradients."""
    combiner = CAGT(2, Partition.single([2]), coefficient=rate, adaptive=False, **options)
    gradient: Tensor = combiner.mixture((g @ g.T).unsqueeze(0), step=0)[0] @ g
    return gradient


def cosine(g: Tensor) -> float:
    return float(g[0] @ g[1] / g[0].norm() / g[1].norm())


lengths = st.floats(0.1, 10)
conflicting = st.floats(math.pi / 2 + 0.01, math.pi - 0.01)
rates = st.floats(0.01, 0.99)


@given(lengths, lengths, conflicting, rates, st.sampled_from(ATTENTIONS))
def test_two_tasks_exchange_directions(
    a: float, b: float, angle: float, rate: float, attention: str
) -> None:
    g = pair(a, b, angle)
    r = a / b
    expected = (1 - rate) * g + rate * torch.stack([r * g[1], g[0] / r])
    torch.testing.assert_close(moved(g, rate, attention=attention), expected, rtol=1e-9, atol=1e-9)
    total = combined([g], Partition.single([2]), 0, coefficient=rate, adaptive=False)
    weights = torch.tensor([1 - rate + rate / r, 1 - rate + rate * r], dtype=torch.float64)
    torch.testing.assert_close(total, weights @ g, rtol=1e-9, atol=1e-9)


@given(lengths, lengths, conflicting, rates)
def test_theorem_d3_cosines_increase(a: float, b: float, angle: float, rate: float) -> None:
    g = pair(a, b, angle)
    assert cosine(moved(g, rate)) > cosine(g)


@given(lengths, lengths, conflicting, rates)
def test_lemma_d4_is_false_and_preserve_norm_fixes_it(
    a: float, b: float, angle: float, rate: float
) -> None:
    g = pair(a, b, angle)
    assert (moved(g, rate).norm(dim=1) < g.norm(dim=1)).all()
    kept = moved(g, rate, preserve_norm=True)
    # A moved gradient may be 200 times shorter: its square loses five of sixteen digits.
    torch.testing.assert_close(kept.norm(dim=1), g.norm(dim=1), rtol=1e-9, atol=0)
    torch.testing.assert_close(cosine(kept), cosine(moved(g, rate)), rtol=1e-9, atol=1e-9)


def descent(g: Tensor, rate: float) -> float:
    """(g1 + g2) · step: positive for a descent direction of the sum."""
    return float(g.sum(0) @ moved(g, rate).sum(0))


@given(lengths, lengths, conflicting, st.floats(0, 0.5))
def test_theorem_d2_holds_up_to_a_half(a: float, b: float, angle: float, rate: float) -> None:
    g = pair(a, b, angle)
    assert descent(g, rate) > 0
    half = 0.5 * (1 + math.cos(angle)) * (a + b) ** 2
    # ε = 1e-12 moves lengths from 0.1 on by 1e-11 of them, before what is left of (a + b)².
    assert math.isclose(descent(g, 0.5), half, abs_tol=1e-10 * (a + b) ** 2)


def test_theorem_d2_is_false_above_a_half() -> None:
    g = torch.tensor([[10.0, 0.0], [-0.9, 0.436]], dtype=torch.float64)
    assert descent(g, 0.6) < 0
    assert descent(g, 0.5) > 0


def test_theorem_d2_fails_often_above_a_half(rng: np.random.Generator) -> None:
    failed = []
    for _ in range(1000):
        angle, rate = rng.uniform(math.pi / 2, math.pi), rng.uniform(0, 1)
        a, b = np.exp(rng.normal(size=2))
        if descent(pair(a, b, angle), rate) < 0:
            failed.append(rate)
    assert 50 < len(failed) < 500  # neither never nor always
    assert min(failed) > 0.5


@given(st.floats(0, math.pi / 2 - 0.01), rates)
def test_agreeing_tasks_stay_untouched(angle: float, rate: float) -> None:
    g = pair(2.0, 3.0, angle)
    assert torch.equal(moved(g, rate), g)


def test_opposite_tasks_of_equal_length_cancel_at_a_half() -> None:
    g = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert moved(g, 0.5).abs().max() < 1e-11  # ε = 1e-12 keeps it from 0
    assert moved(g, 0.5, preserve_norm=True).isfinite().all()


# Options.


def test_adaptive_rate() -> None:
    combiner = CAGT(2, Partition.single([2]), coefficient=0.2)
    for t, conflict in itertools.product([0, 499, 500, 1999, 2000, 6999, 7000, 10**6], [0, 0.5, 1]):
        assert math.isclose(combiner.rate(t, conflict), literal_rate(0.2, conflict, t))
    assert CAGT(2, Partition.single([2]), coefficient=0.4).rate(0, 0) == 0.5
    assert CAGT(2, Partition.single([2]), coefficient=0.9).rate(2000, 1) == 1
    assert CAGT(2, Partition.single([2]), adaptive=False).rate(0, 1) == 0.2


def test_active_steps_end_in_the_plain_sum(seed: int) -> None:
    gradients = drawn(seed, 3)
    options: dict[str, Any] = {"active_steps": 5, "threshold": 1.0}
    plain = torch.cat(gradients, 1).sum(0)
    assert not torch.equal(combined(gradients, PARTITIONS["all"], 4, **options), plain)
    torch.testing.assert_close(combined(gradients, PARTITIONS["all"], 5, **options), plain)


@pytest.mark.parametrize(
    ("rate", "adaptive", "warned"),
    [(0.5, False, False), (0.51, False, True), (0.33, True, False), (0.4, True, True)],
)
def test_warns_where_descent_is_not_certain(
    rate: float, adaptive: bool, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        CAGT(2, Partition.single([2]), coefficient=rate, adaptive=adaptive)
    assert ("need not be a descent direction" in caplog.text) == warned


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", 0),
        ("coefficient", 1.1),
        ("threshold", -2),
        ("active_steps", -1),
        ("eps", 0),
        ("attention", "dot"),
    ],
)
def test_options_outside_their_range(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option}: expected .*, found {value}"):
        CAGT(2, Partition.single([2]), **{option: value})
