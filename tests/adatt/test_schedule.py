from __future__ import annotations

import pytest

from recsys_mtl.adatt import Phase, Schedule
from recsys_mtl.adatt.schedule import Clock


def test_phases_switch_at_their_epochs() -> None:
    schedule = Schedule(warmup_epochs=2, freeze_epoch=5)
    phases = [schedule.phase(epoch) for epoch in range(7)]
    assert phases == [Phase.WARMUP] * 2 + [Phase.DYNAMIC] * 3 + [Phase.FROZEN] * 2
    assert Schedule(0, 1).phase(0) is Phase.DYNAMIC


@pytest.mark.parametrize("freeze", [2, 3])
def test_freezing_before_the_warmup_ends_is_an_error(freeze: int) -> None:
    message = rf"freeze_epoch: expected more than warmup_epochs \(3\), found {freeze}"
    with pytest.raises(ValueError, match=message):
        Schedule(3, freeze)


def test_a_negative_warmup_is_an_error() -> None:
    with pytest.raises(ValueError, match="warmup_epochs: expected 0 or more, found -1"):
        Schedule(-1, 3)


def test_the_clock_is_in_the_state_dict() -> None:
    clock, resumed = Clock(), Clock()
    clock.set("epoch", 7)
    clock.set("steps", 123)
    resumed.load_state_dict(clock.state_dict())
    assert [resumed.get(name) for name in ("epoch", "steps", "frozen_since")] == [7, 123, -1]
    assert clock.state_dict()["steps"].item() == 123
