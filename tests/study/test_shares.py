"""Shares of trainings reach the bar, from this process and from workers."""

from __future__ import annotations

import pytest

from recsys_mtl.processes import as_they_come
from recsys_mtl.study import shares as module
from recsys_mtl.study.shares import Shares, report_share, shown_shares, use_shares
from tests.study.test_run import Sum
from tests.waiting import wait_for

UNITS = [Sum("a", 1), Sum("b", 1)]


@pytest.fixture
def advanced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_READINGS", 0.001)
    return []


def test_a_bar_advances_by_what_is_reported(advanced: list[tuple[float, str]]) -> None:
    with shown_shares(UNITS, lambda *args: advanced.append(args)):
        report_share(UNITS[1], 0.25)
        report_share(Sum("of another study", 1), 0.5)
        wait_for(lambda: len(advanced) == 1)
        report_share(UNITS[1], 1.0)
        wait_for(lambda: len(advanced) == 2)
    assert advanced == [(0.25, "b, seed 1"), (0.75, "b, seed 1")]


def test_a_study_without_units() -> None:
    with shown_shares([], lambda *args: pytest.fail("nothing to show")):
        report_share(UNITS[0], 1.0)


def report_two_thirds(unit: Sum, *, threads: int) -> int:
    report_share(unit, 2 / 3)
    return threads


class Start:
    """Workers use the shares of the parent."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares

    def __call__(self) -> None:
        use_shares(self.shares)


@pytest.mark.slow  # a process
def test_a_worker_reports_to_its_parent(advanced: list[tuple[float, str]]) -> None:
    with shown_shares(UNITS, lambda *args: advanced.append(args)) as shares:
        list(as_they_come(report_two_thirds, [(UNITS[0],)], workers=1, start=Start(shares)))
        wait_for(lambda: bool(advanced))
    assert advanced == [(pytest.approx(2 / 3), "a, seed 1")]
