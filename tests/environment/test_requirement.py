from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.specifiers import SpecifierSet

from recsys_mtl.environment import requirement
from recsys_mtl.environment.requirement import (
    by_package,
    own_needs,
    parse,
    spelled,
    their_needs,
    version_of,
)


def test_markers_and_extras() -> None:
    lines = [
        "Torch>=2.13",
        'gunicorn; platform_system == "Nowhere"',
        'cvxpy>=1.3; extra == "cagrad"',
        'ecos; extra == "full"',
        'numpy; python_version >= "3"',
    ]
    assert [need.package for need in parse(lines, "me")] == ["torch", "numpy"]
    needs = parse(lines, "me", extras={"cagrad"})
    assert [need.package for need in needs] == ["torch", "cvxpy", "numpy"]


def test_our_own_needs_are_those_of_the_metadata() -> None:
    needs = {need.package: need for need in own_needs()}
    assert needs["torch"].by == f"recsys-mtl {version('recsys-mtl')}"
    assert not needs["torch"].optional
    assert needs["torch"].releases.contains(str(version_of("torch")))
    assert "cagrad" in needs["torchjd"].extras
    assert [name for name, need in needs.items() if need.optional] == [
        "torchrec", "fbgemm-gpu", "torchmetrics", "lightgbm",
    ]  # fmt: skip
    assert "pytest" not in needs


def test_installed_packages_ask_for_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = {"torchjd": ['cvxpy; extra == "cagrad"'], "fbgemm-gpu-cpu": ["numpy"]}
    versions = {"torchjd": "0.18.0", "fbgemm-gpu-cpu": "1.8.0"}
    monkeypatch.setattr(requirement.metadata, "requires", requires.get)
    monkeypatch.setattr(requirement, "version_of", versions.get)
    own = parse(["absent", "torchjd[cagrad]", "fbgemm-gpu"], "recsys-mtl 1")
    requested = by_package(their_needs(own))
    assert {name: [need.by for need in needs] for name, needs in requested.items()} == {
        "cvxpy": ["torchjd 0.18.0"],
        "numpy": ["fbgemm-gpu-cpu 1.8.0"],
    }


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version_of("no-such-package") is None
    monkeypatch.setattr(requirement, "_OURS", "no-such-package")
    with pytest.raises(PackageNotFoundError):
        own_needs()


def test_the_lower_bound_comes_first() -> None:
    assert spelled(SpecifierSet("<26,!=23,>=22")) == "!=23,>=22,<26"
    assert spelled(SpecifierSet()) == ""
