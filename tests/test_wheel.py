"""The built wheel: what is in it, and that it works beside a folder of the user's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (
    "recsys_mtl",
    "data_synth",
    "configs",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
)
HOSTILE = "raise SystemExit('this is the code of the user')\n"

pytestmark = pytest.mark.slow  # a build, and processes


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that nothing of an earlier build is in it, and a compiler in a hurry."""
    source = tmp_path_factory.mktemp("wheel") / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    for path in [*source.rglob("*.so")]:
        path.unlink()
    compiler = source.parent / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0\n')
    compiler.chmod(0o755)
    return source


def build(what: str, source: Path, compiler: str) -> Path:
    """An sdist or a wheel of a folder with sources, in a folder beside it."""
    out = source.parent / what
    code = f"import sys; from setuptools.build_meta import *; build_{what}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=source, env={**os.environ, "CC": compiler}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Built from the sdist."""
    sdist = build("sdist", source, "false")
    with tarfile.open(sdist) as archive:
        archive.extractall(sdist.parent, filter="data")
    return build(
        "wheel", sdist.parent / sdist.name.removesuffix(".tar.gz"), str(source.parent / "cc")
    )


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """A folder with the wheel's files, as installed."""
    folder = wheel.parent / "site"
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_sdist_makes_the_wheel_that_the_checkout_makes(source: Path, wheel: Path) -> None:
    direct = build("wheel", source, "false")  # without kernels
    names = [
        {name for name in ZipFile(each).namelist() if not name.endswith(".so")}
        for each in (direct, wheel)
    ]
    assert names[0] == names[1]


def test_what_is_in_it(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"recsys_mtl", "data_synth"}
    data = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".yaml", ".typed", ".json", ".css", ".html")
    }
    assert {"data_synth/presets/demo.yaml", "recsys_mtl/py.typed"} < data
    assert data <= set(names)
    ready = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"recsys_mtl/{name}" for name in ready} <= set(names)
    if shutil.which("cc"):
        libraries = {name.split(".")[0] for name in names if name.endswith(".so")}
        assert "recsys_mtl/native/_base" in libraries
        objects = [*wheel.parents[1].rglob("hidden.o")]
        assert len(objects) == len(libraries)  # built at once, so none may overwrite another
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert not [name for name in names if "test" in name.split("/")[0]]


@pytest.fixture
def run(site: Path, toy: Any) -> Any:
    """Runs the installed package in a folder that has a `pipelines` package and more."""
    hostile = toy.folder / "pipelines"
    hostile.mkdir()
    for name in ("__init__", "train", "validate", "cli", "main"):
        (hostile / f"{name}.py").write_text(HOSTILE)
    (toy.folder / "cli.py").write_text(HOSTILE)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "recsys_mtl", *arguments],
            cwd=toy.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_it_works_next_to_the_users_own_folder(run: Any, site: Path, toy: Any) -> None:
    code = "import recsys_mtl.cli.main as m; print(m.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", code]
    actual = subprocess.run(
        command, cwd=toy.folder, env=environment, capture_output=True, text=True, check=True
    )
    assert actual.stdout.startswith(str(site))
    version = run("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout[0].isdigit()
    validated = run("validate", "toy.yaml")
    assert validated.returncode == 0, validated.stderr
    assert validated.stdout.startswith("toy.yaml: valid; rows: ")


def test_presets_plans_and_configs_are_found(run: Any, toy: Any) -> None:
    assert run("configs", "--out", "copied").returncode == 0
    copied = toy.folder / "copied/ablations/demo.yaml"
    assert copied.read_bytes() == (ROOT / "configs/ablations/demo.yaml").read_bytes()
    plans = run("reproduce", "nothing")
    assert plans.returncode == 2
    assert "use one of: celeba, rot-mnist" in plans.stderr
    made = run("synthesize", "demo", "--rows", "50", "--out", "made", "--processes", "1")
    assert made.returncode == 0, made.stderr


def test_from_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    """Only the sources and their dependencies are on the path: no metadata of the package."""
    (tmp_path / "recsys_mtl").symlink_to(ROOT / "recsys_mtl")
    code = (
        "import sys, importlib.metadata as m; real = m.distribution\n"
        "def distribution(name):\n"
        "    if name == 'recsys-mtl': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.distribution = distribution\n"
        "from recsys_mtl.cli.main import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        [*command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "not installed\n")
    done = subprocess.run(
        [*command, "doctor", "--out", "out"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "wrong: recsys-mtl is not installed: it runs from " in done.stdout
    assert done.stdout.endswith("not healthy\n")
