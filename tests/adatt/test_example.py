from __future__ import annotations

import inspect
from typing import Any

import recsys_mtl.adatt
from recsys_mtl.adatt import AdaTT, Phase


def test_the_example_in_the_docstring_runs() -> None:
    text = inspect.getdoc(recsys_mtl.adatt)
    assert text is not None
    _, _, indented = text.partition("Example::\n\n")
    code = inspect.cleandoc(indented)
    names: dict[str, Any] = {}
    exec(compile(code, "example", "exec"), names)
    adatt = names["adatt"]
    assert isinstance(adatt, AdaTT)
    assert adatt.phase is Phase.FROZEN
    assert adatt.diagnostics()["observations"] == 1
    assert (adatt.W != 0).any()
    assert names["losses"].isfinite().all()
