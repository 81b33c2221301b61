from __future__ import annotations

from recsys_mtl.config.flat import flat


def test_flat() -> None:
    nested = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}, "f": None}
    assert flat(nested) == {"a.b": 1, "a.c.d": [1, 2], "e": {}, "f": None}
