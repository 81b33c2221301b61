"""What of the package a logged model carries."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from recsys_mtl.serving.mlflow_model import pack_package

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("code") / "package.zip"
    pack_package(to)
    return to


@pytest.fixture(scope="module")
def files(package: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_is_what_serving_may_import(files: dict[str, bytes]) -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    layers = tool["importlinter"]["contracts"][0]["layers"]
    below = layers[layers.index("recsys_mtl.serving") :]
    names = {part.strip() for layer in below for part in layer.split("|")}
    packed = {".".join(Path(name).with_suffix("").parts[:2]) for name in files}
    assert packed == names | {"recsys_mtl.__init__"}


def test_files_are_complete_and_python_alone(files: dict[str, bytes]) -> None:
    assert {Path(name).suffix for name in files} == {".py"}
    assert files == {name: (ROOT / name).read_bytes() for name in files}


def test_the_same_package_is_the_same_file(package: Path, tmp_path: Path) -> None:
    pack_package(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == package.read_bytes()


@pytest.mark.slow
def test_every_module_of_it_imports_where_nothing_else_of_the_package_is(
    package: Path, files: dict[str, bytes]
) -> None:
    paths = [Path(name).with_suffix("") for name in files]
    needs_mlflow_or_torchrec = ("served_model", "embeddings_torchrec")
    names = [".".join(path.parts) for path in paths if path.name not in needs_mlflow_or_torchrec]
    code = f"import sys; sys.path.insert(0, {str(package)!r})\n"
    code += "from importlib import import_module\n"
    code += f"for name in {sorted(names)!r}: import_module(name)\n"
    code += "ours = {m.__file__ for n, m in sys.modules.items() if n.startswith('recsys_mtl')}\n"
    code += f"assert all(f.startswith({str(package)!r}) for f in ours), ours\n"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd="/", env=environment)
