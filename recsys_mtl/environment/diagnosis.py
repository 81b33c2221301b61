"""The report on an environment: versions, what does not go together, devices.

Healthy means that training works. What is only missing for speed (torchrec and fbgemm: without
them the tables are plain ones) is reported, but counts as healthy; a broken installation does not.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from recsys_mtl.environment.imports import try_imports
from recsys_mtl.environment.judge import Trouble, Versions, judge
from recsys_mtl.environment.machine import processor
from recsys_mtl.environment.requirement import FBGEMM_BUILDS, own_needs, their_needs, version_of
from recsys_mtl.native import described

_FOLDER = Path(__file__).parents[2]


@dataclass(frozen=True)
class Diagnosis:
    """An environment.

    Attributes:
        versions: by package, python first; None where missing.
        troubles: what is wrong, with its fix.
        devices: `cpu`, and those that torch detects.
        embeddings: the backend that `auto` takes for large tables.
        kernels: the instruction set of the native CPU kernels, or why there are none.
    """

    versions: Versions
    troubles: list[Trouble]
    devices: dict[str, Any]
    embeddings: str
    kernels: str = ""

    @property
    def healthy(self) -> bool:
        """Whether training works."""
        return all(trouble.optional for trouble in self.troubles)

    def numbers(self) -> dict[str, Any]:
        """What result.json holds."""
        return {"healthy": self.healthy, **asdict(self)}


def diagnose() -> Diagnosis:
    """Diagnose this environment."""
    try:
        own = own_needs()
        troubles = []
    except PackageNotFoundError:
        own, troubles = [], [_not_installed()]
    needs = [*own, *their_needs(own)]
    names = dict.fromkeys([*(need.package for need in needs), *FBGEMM_BUILDS, "torch", "torchrec"])
    versions = {name: version_of(name) for name in names}
    fbgemm = any(versions[build] for build in FBGEMM_BUILDS)
    modules = {"torch": True, "fbgemm_gpu": fbgemm, "torchrec": bool(versions["torchrec"])}
    imports = try_imports([name for name, there in modules.items() if there])
    troubles += judge(needs, versions, imports.failures)
    shown = dict.fromkeys([*(need.package for need in own), "torch", "torchrec", *FBGEMM_BUILDS])
    return Diagnosis(
        versions={
            "python": platform.python_version(),
            "recsys-mtl": version_of("recsys-mtl"),
            **{name: versions[name] for name in shown},
        },
        troubles=troubles,
        devices={"cpu": processor(), **imports.devices},
        embeddings="torchrec" if all(modules.values()) and not imports.failures else "plain",
        kernels=described(),
    )


def _not_installed() -> Trouble:
    source = (_FOLDER / "pyproject.toml").is_file()
    return Trouble(
        f"recsys-mtl is not installed: it runs from {_FOLDER}, and which releases it needs is only "
        "known once it is installed",
        f"pip install --no-deps -e {_FOLDER}" if source else "pip install recsys-mtl",
    )
