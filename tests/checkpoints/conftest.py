from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is worth waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
