from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle import lock
from recsys_mtl.lifecycle.lock import FREE, LOCK, locked

Make = Callable[..., Any]


def mark(hours: float) -> str:
    since = datetime.now(UTC) - timedelta(hours=hours)
    return f"elsewhere:42:c0ffee:{since.isoformat()}"


def test_it_is_held_inside_and_free_after(make_registry: Make) -> None:
    registry = make_registry()
    with locked(registry, "shop", break_lock=False) as check:
        check()
        held = dict(registry.own_tags)
        with (
            pytest.raises(UserError, match=r"^shop: another promotion .* held by process \d+ on"),
            locked(registry, "shop", break_lock=False),
        ):
            pytest.fail("two at once")
        assert registry.own_tags == held
    assert registry.own_tags == {}


def test_it_is_free_after_an_error(make_registry: Make) -> None:
    registry = make_registry()
    with pytest.raises(KeyboardInterrupt), locked(registry, "shop", break_lock=False):
        raise KeyboardInterrupt
    assert registry.own_tags == {}


def test_the_holder_is_reported(make_registry: Make) -> None:
    registry = make_registry()
    registry.own_tags[LOCK] = mark(0.9)
    with (
        pytest.raises(UserError, match=r"process 42 on elsewhere since 20.*--break-lock"),
        locked(registry, "shop", break_lock=False),
    ):
        pytest.fail("it was held")
    assert registry.own_tags[LOCK].startswith("elsewhere")


@pytest.mark.parametrize(("hours", "broken"), [(1.1, False), (0.1, True)])
def test_a_stale_and_a_broken_lock_are_replaced(
    make_registry: Make, hours: float, broken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    registry = make_registry()
    registry.own_tags[LOCK] = mark(hours)
    with caplog.at_level(logging.WARNING), locked(registry, "shop", break_lock=broken) as check:
        check()
    assert "the lock of shop is broken: it was held by process 42 on elsewhere" in caplog.text
    assert registry.own_tags == {}


@pytest.mark.parametrize("which", ["ours", "another", "none"])
def test_a_mark_of_a_process_that_is_gone_is_replaced(make_registry: Make, which: str) -> None:
    """`ours`: in a container a retry has the number of the process that was killed."""
    with subprocess.Popen(["true"]) as ended:
        pass
    pid = {"ours": os.getpid(), "another": os.getppid(), "none": ended.pid}[which]
    registry = make_registry()
    registry.own_tags[f"{LOCK}.c0ffee"] = mark(0.1).replace(
        "elsewhere:42", f"{socket.gethostname()}:{pid}"
    )
    if which == "another":
        with pytest.raises(UserError, match=f"held by process {pid} on"):
            locked(registry, "shop", break_lock=False).__enter__()
    else:
        with locked(registry, "shop", break_lock=False) as check:
            check()
        assert registry.own_tags == {}


@pytest.mark.parametrize("text", ["somebody", "a:b:c:d", "a:1:b:2026-01-01T00:00:00", ""])
def test_a_mark_of_others_is_never_stale(make_registry: Make, text: str) -> None:
    registry = make_registry()
    registry.own_tags[LOCK] = text
    with (
        pytest.raises(UserError, match=f"held by '{text}'"),
        locked(registry, "shop", break_lock=False),
    ):
        pytest.fail("it was held")


def test_a_free_mark_of_an_earlier_version_is_free(make_registry: Make) -> None:
    registry = make_registry()
    registry.own_tags[LOCK] = FREE
    with locked(registry, "shop", break_lock=False) as check:
        check()
    assert registry.own_tags == {LOCK: FREE}


def test_of_jobs_that_begin_at_once_one_continues(make_registry: Make) -> None:
    """All find the lock free; one of them takes very long to write its mark."""
    registry = make_registry()
    begun, lines = threading.Barrier(3), list[str]()
    inside, most = [0], [0]
    set_model_tags = registry.set_model_tags

    def together(name: str, tags: dict[str, str]) -> None:
        if begun.wait(timeout=30) == 0:
            time.sleep(0.05)
        set_model_tags(name, tags)

    def job() -> None:
        try:
            with locked(registry, "shop", break_lock=False) as check:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.1)
                check()
                inside[0] -= 1
                lines.append("done")
        except UserError as error:
            lines.append(str(error))

    registry.set_model_tags = together
    jobs = [threading.Thread(target=job, daemon=True) for _ in range(3)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join(timeout=30)
    assert most == [1]
    assert "done" in lines
    assert all(line == "done" or "held by process" in line for line in lines)
    assert registry.own_tags == {}


def test_the_earliest_does_not_wait_forever(
    make_registry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SECONDS", 0.01)
    registry = make_registry()
    set_model_tags = registry.set_model_tags
    later = {f"{LOCK}.beef": mark(-0.5)}
    registry.set_model_tags = lambda name, tags: set_model_tags(name, tags | later)
    with (
        pytest.raises(UserError, match="held by process 42"),
        locked(registry, "shop", break_lock=False),
    ):
        pytest.fail("the other is there")
    assert registry.own_tags == later


@pytest.mark.parametrize(
    ("after", "message"),
    [({LOCK: mark(0)}, "held by process 42"), ({}, "one that has ended since")],
    ids=["held", "free"],
)
def test_a_lock_that_is_lost_is_noticed_and_left_alone(
    make_registry: Make, after: dict[str, str], message: str
) -> None:
    registry = make_registry()

    def lose() -> None:
        with locked(registry, "shop", break_lock=False) as check:
            registry.own_tags = dict(after)
            check()

    with pytest.raises(UserError, match=message):
        lose()
    assert registry.own_tags == after


def test_a_server_that_is_down_at_the_end(
    make_registry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    registry = make_registry()
    with locked(registry, "shop", break_lock=False):
        registry.fail(1, "for good")
    assert "the lock of shop stays for an hour, or until --break-lock" in caplog.text
    assert [key.startswith(f"{LOCK}.") for key in registry.own_tags] == [True]
