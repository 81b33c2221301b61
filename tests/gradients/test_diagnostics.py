from __future__ import annotations

import math

import torch

from recsys_mtl.gradients.combiners import make_combiner
from recsys_mtl.gradients.partition import Partition

# Two blocks of four tasks: task 1 is absent, task 3 is zero in the second block.
FIRST = torch.tensor([[1.0, 0.0], [9.0, 9.0], [-3.0, 0.0], [0.0, 2.0]])
SECOND = torch.tensor([[1.0], [9.0], [2.0], [0.0]])
PRESENT = torch.tensor([True, False, True, True])


def test_against_numbers_by_hand() -> None:
    combiner = make_combiner("sum", 4, Partition.each([2, 1]))
    diagnostics = combiner.combine([FIRST, SECOND], PRESENT, step=0).diagnostics
    assert diagnostics is not None
    expected = torch.zeros(2, 4, 4, dtype=torch.float64)
    expected[0, 0, 2] = expected[0, 2, 0] = -1
    expected[1, 0, 2] = expected[1, 2, 0] = 1
    assert torch.equal(diagnostics.cosines, expected)
    assert diagnostics.known[0].sum() == 6  # three present tasks
    assert diagnostics.known[1].sum() == 2  # without the zero one
    assert not diagnostics.known[:, 1].any()
    assert not diagnostics.known.diagonal(dim1=1, dim2=2).any()
    torch.testing.assert_close(diagnostics.conflict_ratio(), torch.tensor([1 / 3, 0]))
    assert torch.equal(diagnostics.pair_cosine(), torch.zeros(4, 4, dtype=torch.float64))
    expected = torch.tensor([math.sqrt(8), 3], dtype=torch.float64)
    torch.testing.assert_close(diagnostics.length, expected)
    torch.testing.assert_close(diagnostics.sum_length, expected)
    assert torch.equal(diagnostics.length_ratio(), torch.ones(2, dtype=torch.float64))
    assert diagnostics.weights is not None
    assert diagnostics.weights.tolist() == [[1, 0, 1, 1]] * 2
    assert diagnostics.extra == {}


def test_pair_cosine_is_a_mean_over_the_blocks_with_the_pair() -> None:
    gradients = [torch.tensor([[1.0, 0], [1, 1]]), torch.tensor([[1.0], [0]])]
    combiner = make_combiner("sum", 2, Partition.each([2, 1]))
    diagnostics = combiner.combine(gradients, torch.ones(2, dtype=torch.bool), step=0).diagnostics
    assert diagnostics is not None
    assert abs(float(diagnostics.pair_cosine()[0, 1]) - math.sqrt(0.5)) < 1e-12


def test_length_ratio_where_nothing_is() -> None:
    opposite = [torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1)]
    combiner = make_combiner("random", 2, Partition.each([1, 1]))
    diagnostics = combiner.combine(opposite, torch.ones(2, dtype=torch.bool), step=0).diagnostics
    assert diagnostics is not None
    assert diagnostics.length_ratio().tolist() == [math.inf, 1]


def test_methods_without_weights() -> None:
    gradients = [torch.tensor([[1.0, 2], [1, 2]])]
    combiner = make_combiner("graddrop", 2, Partition.single([2]))
    diagnostics = combiner.combine(gradients, torch.ones(2, dtype=torch.bool), step=0).diagnostics
    assert diagnostics is not None
    assert diagnostics.weights is None
    expected = torch.tensor([math.sqrt(20)], dtype=torch.float64)
    torch.testing.assert_close(diagnostics.length, expected)


def test_cagt_reports_its_rate_and_conflicts() -> None:
    gradients = [torch.tensor([[1.0, 0], [-1, 1]]), torch.tensor([[1.0], [2.0]])]
    everybody = torch.ones(2, dtype=torch.bool)
    combiner = make_combiner("cagt", 2, Partition.each([2, 1]), active_steps=2100)

    def extra(step: int) -> dict[str, float]:
        diagnostics = combiner.combine(gradients, everybody, step=step).diagnostics
        assert diagnostics is not None
        return diagnostics.extra

    assert extra(600) == {"lambda": 0.2, "conflicting": 0.5}
    assert math.isclose(extra(2000)["lambda"], 0.2 * 1.25)
    assert extra(2100) == {"lambda": 0.0, "conflicting": 0.5}
