"""Packages above the training import nothing by themselves, and name what they hold."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

PACKAGES = ("runs", "reports", "study", "ablation", "scoring", "lifecycle", "vision.reproduction")


def test_a_package_alone_imports_nothing() -> None:
    names = [f"recsys_mtl.{name}" for name in PACKAGES]
    code = f"import sys, {', '.join(names)}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("recsys_mtl.")}
    assert ours == {*names, "recsys_mtl.vision"}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_names_is_there(package: str) -> None:
    """The lines of its docstring `module.name, name    what it is`."""
    module = importlib.import_module(f"recsys_mtl.{package}")
    lines = re.findall(r"^    (\w+(?:\.\w+)?(?:, \w+)*) {2,}\S", module.__doc__ or "", re.M)
    assert len(lines) >= 2
    for line in lines:
        first, *others = line.split(", ")
        file, _, name = first.partition(".")
        part = importlib.import_module(f"recsys_mtl.{package}.{file}")
        assert all(hasattr(part, known) for known in (name, *others) if known), line
