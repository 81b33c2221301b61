"""What is wrong with an environment, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

from packaging.specifiers import SpecifierSet

from recsys_mtl.environment.requirement import (
    FBGEMM,
    FBGEMM_BUILDS,
    TABLES,
    Need,
    by_package,
    spelled,
)

Versions = Mapping[str, str | None]
_ALONE = ("torchrec", *FBGEMM_BUILDS)  # torchrec's dependencies pull the CUDA build of fbgemm


@dataclass(frozen=True)
class Trouble:
    """Something wrong, and the command that fixes it; `optional` where training works anyway."""

    what: str
    mend: str
    optional: bool = False


def judge(needs: Sequence[Need], versions: Versions, failures: Mapping[str, str]) -> list[Trouble]:
    """Judge an environment.

    Args:
        needs: all requirements, recsys-mtl's own first.
        versions: installed version of each required package, and of both builds of
            fbgemm; None where missing.
        failures: modules whose import failed, with the last line that it said.
    """
    requested = by_package(needs)
    return [
        *_judge_builds(requested, versions),
        *(t for group in requested.values() if (t := _judge_version(group, versions))),
        *_judge_imports(requested, versions, failures),
    ]


def _judge_builds(requested: Mapping[str, list[Need]], versions: Versions) -> Iterator[Trouble]:
    builds = [name for name in FBGEMM_BUILDS if versions.get(name)]
    if len(builds) == len(FBGEMM_BUILDS):
        what = f"{' and '.join(builds)} are the same module, installed twice"
        mend = (
            f"pip uninstall -y {' '.join(builds)} && {_install(_own(FBGEMM, requested), versions)}"
        )
        yield Trouble(what, mend)


def _judge_version(needs: Sequence[Need], versions: Versions) -> Trouble | None:
    """A package that is missing, or of a release that somebody cannot work with."""
    package = needs[0].package
    name = _build(package, versions)
    version = versions.get(name)
    if version is not None:
        refusing = [need for need in needs if not need.releases.contains(version, prereleases=True)]
        if not refusing:
            return None
        mend = _install([needs[0], refusing[0]], versions)
        return Trouble(f"{name} {version} does not fit: {_because(refusing)}", mend)
    mend = _install(needs[:1], versions)
    if package in TABLES:
        return Trouble(f"{name} is missing: plain tables are used", mend, optional=True)
    required = [need for need in needs if not need.optional]
    return Trouble(f"{name} is missing: {_because(required)}", mend) if required else None


def _judge_imports(
    requested: Mapping[str, list[Need]], versions: Versions, failures: Mapping[str, str]
) -> Iterator[Trouble]:
    if message := failures.get("torch"):
        if versions.get("torch"):
            mend = f"{_install(_own('torch', requested), versions)} --force-reinstall"
            yield Trouble(f"torch does not import: {message}", mend)
        return  # nothing else can import without it
    if message := failures.get("fbgemm_gpu"):
        mend = _install(_own(FBGEMM, requested), versions)
        if versions.get(FBGEMM) and _is_cpu(versions):
            mend = f"pip uninstall -y {FBGEMM} && {mend}"
        yield Trouble(f"fbgemm does not import: {message}", mend)
    elif message := failures.get("torchrec"):
        needs = (need for group in requested.values() for need in group)
        own = [_quoted(need.package, need.releases) for need in _of("torchrec", needs)]
        mend = " ".join([_install(_own("torchrec", requested), versions), *own])
        yield Trouble(f"torchrec does not import: {message}", mend)


def _of(package: str, needs: Iterable[Need]) -> Iterator[Need]:
    """What a package requires, except fbgemm, which is required under its CUDA build's name."""
    for need in needs:
        if need.by.startswith(f"{package} ") and need.package != FBGEMM:
            yield need


def _because(needs: Iterable[Need]) -> str:
    """The requirements, each with the package that has it."""
    return ", ".join(f"{need.by} needs {spelled(need.releases) or 'it'}" for need in needs)


def _build(package: str, versions: Versions) -> str:
    """The build of fbgemm that is installed, else the one for this torch; other names as such."""
    if package != FBGEMM:
        return package
    installed = [name for name in FBGEMM_BUILDS if versions.get(name)]
    return installed[0] if installed else FBGEMM_BUILDS[_is_cpu(versions)]


def _is_cpu(versions: Versions) -> bool:
    return "+cpu" in (versions.get("torch") or "")


def _own(package: str, requested: Mapping[str, list[Need]]) -> list[Need]:
    """recsys-mtl's own requirement; any release without one."""
    return requested.get(package, [Need(package, SpecifierSet(), "")])[:1]


def _install(needs: Sequence[Need], versions: Versions) -> str:
    """The pip command; --no-deps where the resolver would pull the CUDA build of fbgemm."""
    package = needs[0].package
    name = FBGEMM_BUILDS[_is_cpu(versions)] if package == FBGEMM else package
    releases = reduce(and_, (need.releases for need in needs))
    return f"pip install {'--no-deps ' if name in _ALONE else ''}{_quoted(name, releases)}"


def _quoted(name: str, releases: SpecifierSet) -> str:
    return f'"{name}{spelled(releases)}"' if releases else name
