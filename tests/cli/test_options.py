from __future__ import annotations

from pathlib import Path

from recsys_mtl.cli.options import overrides


def test_short_options_come_after_the_overrides() -> None:
    assert overrides(None) == []
    chosen = ["a=1", "data.root=x"]
    values = overrides(chosen, data=Path('my "data"'), seed=0)
    assert values == ["a=1", "data.root=x", r'data.root="my \"data\""', "seed=0"]
    assert chosen == ["a=1", "data.root=x"]
