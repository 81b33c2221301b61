"""The required releases and the packages that require them: read from installed metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

FBGEMM = "fbgemm-gpu"
FBGEMM_BUILDS = (FBGEMM, "fbgemm-gpu-cpu")
"""Two builds of one module; torchrec and the extra `cuda` require the first by name."""

TABLES = ("torchrec", FBGEMM)
"""What the fused embedding tables need; without them tables are plain ones, and training works."""

_OURS, _EXTRAS = "recsys-mtl", ("cuda", "lightgbm")


@dataclass(frozen=True)
class Need:
    """A requirement.

    Attributes:
        package: that is required.
        releases: that fit.
        by: the package that requires it, with its version.
        extras: of the package that are required.
        optional: whether it is required only where it is installed.
    """

    package: str
    releases: SpecifierSet
    by: str
    extras: frozenset[str] = frozenset()
    optional: bool = False


def version_of(package: str) -> str | None:
    """The installed version; None where it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def own_needs() -> list[Need]:
    """What recsys-mtl requires, its extras for fused tables and LightGBM included as optional.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    by = f"{_OURS} {metadata.version(_OURS)}"
    lines = metadata.requires(_OURS) or []
    needed = list(parse(lines, by))
    names = {need.package for need in needed}
    extra = parse(lines, by, extras=_EXTRAS, optional=True)
    return [*needed, *(need for need in extra if need.package not in names)]


def their_needs(own: Iterable[Need]) -> Iterator[Need]:
    """What the installed ones of these packages require."""
    for need in own:
        for package in FBGEMM_BUILDS if need.package == FBGEMM else (need.package,):
            if (version := version_of(package)) is not None:
                lines = metadata.requires(package) or []
                yield from parse(lines, f"{package} {version}", extras=need.extras)


def parse(
    lines: Iterable[str], by: str, *, extras: Iterable[str] = (), optional: bool = False
) -> Iterator[Need]:
    """Requirements in the form of the metadata, those for other systems and extras left out."""
    for line in lines:
        wanted = Requirement(line)
        if wanted.marker is None or any(
            wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            name = canonicalize_name(wanted.name)
            yield Need(name, wanted.specifier, by, frozenset(wanted.extras), optional)


def by_package(needs: Iterable[Need]) -> Mapping[str, list[Need]]:
    """The needs of each package, in the order in which packages are first required."""
    grouped: dict[str, list[Need]] = {}
    for need in needs:
        grouped.setdefault(need.package, []).append(need)
    return grouped


def spelled(releases: SpecifierSet) -> str:
    """Releases as one writes them, the lower bound first."""
    return ",".join(sorted(set(map(str, releases)), key=lambda part: (part[0] == "<", part)))
