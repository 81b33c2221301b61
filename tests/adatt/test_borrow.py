from __future__ import annotations

import math

import pytest
import torch

from recsys_mtl.adatt import donors, effective_labels, labelled_rows, receivers, scarcity

# the median is 400, so tasks below 100 receive
LABELS = torch.tensor([40.0, 400.0, 900.0, 100.0, 1600.0, 99.0, 500.0])
RECEIVING = [True, False, False, False, False, True, False]


def test_labelled_rows_and_effective_labels() -> None:
    counts = [[990, 10], [300], [500, 500], [10, 20, 970], [30, 30, 40], [100, 0], [0]]
    assert labelled_rows(counts).tolist() == [1000, 300, 1000, 1000, 100, 100, 0]
    assert effective_labels(counts).tolist() == [20, 300, 1000, 60, 100, 0, 0]


def test_receivers_are_below_a_quarter_of_the_median() -> None:
    assert receivers(LABELS).tolist() == RECEIVING
    even = torch.tensor([10.0, 100.0, 20.0, 60.0])  # the median lies between 20 and 60
    assert receivers(even).tolist() == [False, False, False, False]
    even[0] = 9.9
    assert receivers(even).tolist() == [True, False, False, False]
    assert not receivers(torch.zeros(3)).any()


def test_scarcity_is_the_missing_share() -> None:
    shares = scarcity(LABELS)
    torch.testing.assert_close(shares, torch.tensor([0.6, 0, 0, 0, 0, 0.01, 0]))
    assert torch.equal(scarcity(torch.zeros(3)), torch.zeros(3))
    assert scarcity(torch.tensor([0.0, 8.0, 8.0])).tolist() == [1.0, 0.0, 0.0]


def test_donors_are_related_near_the_best_signed_and_by_root_labels() -> None:
    correlation = torch.eye(7)
    # of the best, 0.8: above half 0.41 and −0.6 (not 0.4, not 0.35), and a receiver
    correlation[0] = torch.tensor([1.0, -0.6, 0.8, 0.35, 0.4, 0.41, 0.1])
    correlation[5] = torch.tensor([0.0, 0.3, 0.2, 0.1, 0.0, 1.0, -0.3])  # none above 0.3
    correlation[1] = 0.9  # no receiver
    weights = donors(correlation, LABELS, receivers(LABELS))
    roots = torch.tensor([0, -20, 30, 0, 0, math.sqrt(99), 0])
    torch.testing.assert_close(weights[0], roots / (50 + math.sqrt(99)))
    assert weights[0].abs().sum().item() == pytest.approx(1)
    assert (weights[1:] == 0).all()


def test_a_task_without_more_labels_lends_nothing_and_crowds_out_no_other() -> None:
    """A complement has a correlation of -1 and the very same labels."""
    labels = torch.tensor([40.0, 40.0, 900.0, 800.0, 20.0])
    correlation = torch.eye(5)
    correlation[0] = torch.tensor([1.0, -1.0, 0.35, 0.2, 0.9])
    weights = donors(correlation, labels, torch.tensor([True, True, False, False, True]))
    assert weights[0].tolist() == [0, 0, 1, 0, 0]


def test_nobody_qualifies_gives_exact_zeros() -> None:
    related = torch.full((3, 3), 0.9)
    plenty, scarce = torch.tensor([100.0, 110.0, 120.0]), torch.tensor([1.0, 100.0, 100.0])
    assert torch.equal(donors(related, plenty, receivers(plenty)), torch.zeros(3, 3))
    assert torch.equal(donors(torch.eye(3), scarce, receivers(scarce)), torch.zeros(3, 3))
    assert (donors(related, scarce, receivers(scarce))[0] != 0).tolist() == [False, True, True]
