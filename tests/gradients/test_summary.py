from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.gradients import (
    COMBINERS,
    Combiner,
    ConflictLog,
    Conflicts,
    Diagnostics,
    Partition,
    make_combiner,
)
from recsys_mtl.gradients.diagnostics import diagnose

TASKS, WIDTHS = 4, (3, 5, 2)
NAMES, BLOCKS = ("click", "buy", "band", "spend"), ("shared.0", "shared.1", "embeddings")


def steps(name: str, seed: int, count: int = 7) -> list[Diagnostics]:
    """Of gradients in which tasks are absent, and some are zero in a block."""
    generator = torch.Generator().manual_seed(seed)
    combiner = make_combiner(name, TASKS, Partition.each(WIDTHS))
    made = []
    for step in range(count):
        gradients = [torch.randn(TASKS, width, generator=generator) for width in WIDTHS]
        for rows in gradients:
            rows[torch.rand(TASKS, generator=generator) < 0.2] = 0
        present = torch.rand(TASKS, generator=generator) < 0.7
        diagnostics = combiner.combine(gradients, present, step=step).diagnostics
        if diagnostics is not None:
            made.append(diagnostics)
    return made


def one_step(combiner: Combiner, gradients: list[Tensor], present: Tensor) -> Diagnostics:
    diagnostics = combiner.combine(gradients, present, step=0).diagnostics
    assert diagnostics is not None
    return diagnostics


def summary_of(*seen: Diagnostics, skipped: int = 0) -> Conflicts:
    """The summary of a log of these steps."""
    log = ConflictLog(*seen[0].cosines.shape[:2])
    for one in seen:
        log.add(one)
    conflicts = log.take(skipped=skipped)
    assert conflicts is not None
    return conflicts


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def cells(steps: list[Diagnostics]) -> Iterator[tuple[int, int, int, float]]:
    """(block, task, other, cosine) of everything that is known."""
    for one in steps:
        for block, i, j in one.known.nonzero().tolist():
            yield block, i, j, float(one.cosines[block, i, j])


def literally(steps: list[Diagnostics]) -> dict[str, Any]:
    """As `Conflicts`, entry by entry."""
    known = list(cells(steps))
    blocks, tasks = range(len(WIDTHS)), range(TASKS)
    signs = [[float(c < 0) for b, _, _, c in known if b == block] for block in blocks]
    ratios = [[float(one.length_ratio()[block]) for one in steps] for block in blocks]
    return {
        "conflict_ratio": [mean(of_block) for of_block in signs],
        "task_cosine": [
            [mean([c for b, i, _, c in known if (b, i) == (block, task)]) for task in tasks]
            for block in blocks
        ],
        "pair_cosine": [
            [mean([c for _, i, j, c in known if (i, j) == (task, other)]) for other in tasks]
            for task in tasks
        ],
        "length_ratio": [mean([r for r in row if math.isfinite(r)]) for row in ratios],
    }


def close(actual: Tensor, expected: Any) -> None:
    reference = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.double(), reference, atol=1e-6, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", ["sum", "cagt", "graddrop", "random"])
@pytest.mark.parametrize("count", [1, 7])
def test_means_are_those_taken_literally(name: str, count: int) -> None:
    log = ConflictLog(len(WIDTHS), TASKS)
    for seed in (1, 2, 3):  # `take` leaves nothing
        seen = steps(name, seed, count)
        assert seen
        for one in seen:
            log.add(one)
        conflicts = log.take(skipped=seed)
        assert conflicts is not None
        assert (conflicts.steps, conflicts.skipped) == (len(seen), seed)
        for key, expected in literally(seen).items():
            close(getattr(conflicts, key), expected)
        for key in seen[0].extra:
            assert conflicts.extra[key] == pytest.approx(mean([one.extra[key] for one in seen]))
        assert conflicts.extra.keys() == seen[0].extra.keys()
        assert log.take(skipped=seed) is None


def test_nothing_was_noted() -> None:
    assert ConflictLog(2, 3).take(skipped=3) is None


@pytest.mark.parametrize("name", ["cagt", "graddrop"])
def test_a_stored_log_resumes_between_any_two_steps(name: str) -> None:
    seen = steps(name, 8)
    for at in range(len(seen) + 1):
        log, again = ConflictLog(len(WIDTHS), TASKS), ConflictLog(len(WIDTHS), TASKS)
        for one in seen[:at]:
            log.add(one)
        stored = {k: v.clone() if isinstance(v, Tensor) else v for k, v in log.state_dict().items()}
        again.add(seen[0])  # what it held is replaced
        again.load_state_dict(stored)
        for one in seen[at:]:
            log.add(one)
            again.add(one)
        expected, resumed = log.take(skipped=0), again.take(skipped=0)
        assert expected is not None
        assert resumed is not None
        described = expected.described(BLOCKS, NAMES)
        assert resumed.described(BLOCKS, NAMES) == described
        assert list(resumed.extra) == list(expected.extra)
        assert log.take(skipped=0) is None


def test_absent_tasks_do_not_thin_out_weights() -> None:
    weights = summary_of(*steps("sum", 4)).weights
    assert weights is not None
    assert weights.tolist() == [1.0] * TASKS


def test_a_weight_of_zero_counts_where_the_task_is_present() -> None:
    """MGDA gives all weight to the shorter of two gradients in one direction."""
    combiner = make_combiner("mgda", 3, Partition.single([1]))
    present = torch.tensor([True, True, False])
    rows = [torch.tensor([[a], [b], [9.0]]) for a, b in ((1.0, 2.0), (2.0, 1.0), (1.0, 3.0))]
    weights = summary_of(*(one_step(combiner, [one], present) for one in rows)).weights
    assert weights is not None
    close(weights, [2 / 3, 1 / 3, math.nan])


def test_methods_without_weights() -> None:
    conflicts = summary_of(*steps("graddrop", 5))
    assert conflicts.weights is None
    assert conflicts.described(BLOCKS, NAMES)["weights"] is None


def test_an_infinite_ratio_of_lengths_is_left_out() -> None:
    combiner, present = (
        make_combiner("random", 2, Partition.single([1])),
        torch.tensor([True, True]),
    )
    opposite = one_step(combiner, [torch.tensor([[1.0], [-1.0]])], present)
    same = one_step(combiner, [torch.ones(2, 1)], present)
    assert summary_of(opposite).described(["all"], ["a", "b"])["length_ratio"] == {"all": None}
    ratios = summary_of(opposite, same).length_ratio.tolist()
    assert ratios == pytest.approx([0.5])  # of a sum of weights of 1


@pytest.mark.parametrize("name", [n for n, c in COMBINERS.items() if getattr(c, "blockwise", True)])
def test_described_is_plain_and_by_name(name: str) -> None:
    described = summary_of(*steps(name, 6, 3), skipped=2).described(BLOCKS, NAMES)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert list(described) == [
        *("steps", "skipped", "conflict_ratio", "length_ratio"),
        *("task_cosine", "pair_cosine", "weights", "extra"),
    ]
    assert described["skipped"] == 2
    for key in ("conflict_ratio", "length_ratio", "task_cosine"):
        assert tuple(described[key]) == BLOCKS
    assert tuple(described["task_cosine"]["shared.1"]) == NAMES
    assert [row[i] for i, row in enumerate(described["pair_cosine"])] == [None] * TASKS
    for i, j in combinations(range(TASKS), 2):
        there, back = described["pair_cosine"][i][j], described["pair_cosine"][j][i]
        assert there == (None if back is None else pytest.approx(back))
    assert described["weights"] is None or tuple(described["weights"]) == NAMES


def test_an_absent_task_is_nothing_in_the_description() -> None:
    combiner = make_combiner("cagt", TASKS, Partition.each(WIDTHS))
    gradients = [torch.ones(TASKS, width) for width in WIDTHS]
    present = torch.tensor([True, True, False, True])
    described = summary_of(one_step(combiner, gradients, present)).described(BLOCKS, NAMES)
    assert described["weights"] == {"click": 1.0, "buy": 1.0, "band": None, "spend": 1.0}
    for block in BLOCKS:
        cosines = described["task_cosine"][block]
        assert cosines["band"] is None
        assert cosines["spend"] == pytest.approx(1)
    assert described["pair_cosine"][2] == [None] * TASKS


@pytest.mark.parametrize(("blocks", "names"), [(BLOCKS[:2], NAMES), (BLOCKS, NAMES[1:])])
def test_a_name_for_each_is_needed(blocks: tuple[str, ...], names: tuple[str, ...]) -> None:
    conflicts = summary_of(*steps("sum", 7, 3))
    with pytest.raises(ValueError, match="zip"):
        conflicts.described(blocks, names)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_adds_nothing(wrong: float) -> None:
    """A step on a GPU, which updates nothing, is not read before it is logged."""
    seen = steps("cagt", 0)
    grams, weights = torch.full((3, TASKS, TASKS), wrong), torch.full((3, TASKS), wrong)
    numbers = {"weights": weights, "length": weights[:, 0], "extra": {}}
    bad = diagnose(grams, torch.arange(TASKS), TASKS, **numbers)
    apart, together = (summary_of(*some).described(BLOCKS, NAMES) for some in (seen, [*seen, bad]))
    for values in (apart, together):
        del values["steps"], values["extra"]
    assert json.dumps(together) == json.dumps(apart)
