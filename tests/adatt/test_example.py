from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import recsys_mtl.adatt
from recsys_mtl.adatt import AdaTT, Phase


def example() -> str:
    text = inspect.getdoc(recsys_mtl.adatt)
    assert text is not None
    return inspect.cleandoc(text.partition("Example::\n\n")[2])


def test_the_documents_show_the_same_example() -> None:
    page = (Path(__file__).parents[2] / "docs" / "adatt.md").read_text()
    assert f"```python\n{example()}\n```" in page


def test_the_example_in_the_docstring_runs() -> None:
    code = example()
    names: dict[str, Any] = {}
    exec(compile(code, "example", "exec"), names)
    adatt = names["adatt"]
    assert isinstance(adatt, AdaTT)
    assert adatt.phase is Phase.FROZEN
    assert adatt.diagnostics()["observations"] == 1
    assert (adatt.W != 0).any()
    assert names["losses"].isfinite().all()
