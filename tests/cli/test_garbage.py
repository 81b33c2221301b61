from __future__ import annotations

import atexit
import gc
from typing import Any

import pytest

from recsys_mtl.cli.garbage import exit_uncollected, uncollected


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(gc, "isenabled", lambda: enabled)
    monkeypatch.setattr(gc, "disable", lambda: calls.append("disable"))
    monkeypatch.setattr(gc, "enable", lambda: calls.append("enable"))
    with pytest.raises(ValueError, match="wrong"), uncollected():
        raise ValueError("wrong")
    assert calls == ["disable", "enable"] if enabled else ["disable"]


def test_the_exit_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(atexit, "unregister", lambda f: registered.remove(f) if registered else 0)
    exit_uncollected()
    exit_uncollected()
    assert registered == [gc.freeze]
