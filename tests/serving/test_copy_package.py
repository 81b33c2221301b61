"""What of the package a logged model carries."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recsys_mtl.serving.mlflow_model import copy_package

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("code") / "recsys_mtl"
    copy_package(to)
    return to


def test_it_is_what_serving_may_import(package: Path) -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    layers = tool["importlinter"]["contracts"][0]["layers"]
    below = layers[layers.index("recsys_mtl.serving") :]
    names = {part.strip() for layer in below for part in layer.split("|")}
    copied = {f"recsys_mtl.{path.stem}" for path in package.iterdir()}
    assert copied == names | {"recsys_mtl.__init__"}


def test_files_are_complete_and_python_alone(package: Path) -> None:
    files = [path for path in package.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".py"}
    for path in files:
        original = ROOT / "recsys_mtl" / path.relative_to(package)
        assert path.read_bytes() == original.read_bytes()


@pytest.mark.slow
def test_every_module_of_it_imports_where_nothing_else_of_the_package_is(package: Path) -> None:
    paths = [path.relative_to(package.parent).with_suffix("") for path in package.rglob("*.py")]
    needs_mlflow_or_torchrec = ("served_model", "embeddings_torchrec")
    names = [".".join(path.parts) for path in paths if path.name not in needs_mlflow_or_torchrec]
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
    code += "from importlib import import_module\n"
    code += f"for name in {sorted(names)!r}: import_module(name)\n"
    code += "ours = {m.__file__ for n, m in sys.modules.items() if n.startswith('recsys_mtl')}\n"
    code += f"assert all(f.startswith({str(package)!r}) for f in ours), ours\n"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd="/", env=environment)
