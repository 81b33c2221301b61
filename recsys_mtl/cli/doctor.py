"""`recsys-mtl doctor`: what is installed, what does not go together and its mend, the devices.

Healthy means that training works. What is only missing for speed (torchrec and fbgemm: without
them the tables are plain ones) is told, but is no illness; installed and broken is.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from recsys_mtl.cli.job import Job
from recsys_mtl.cli.options import Out
from recsys_mtl.cli.status import DONE, UNHEALTHY

Versions = Mapping[str, str | None]


@dataclass(frozen=True)
class Rule:
    """A package and the releases of it that work here.

    Attributes:
        package: name on the package index.
        release: what its version starts with, or `<` and the first major version too many.
        install: the version to install as a mend.
        because: what it has to go with.
        needed: whether nothing works without it; else `beside` must be installed to need it.
        beside: the package that it belongs to.
    """

    package: str
    release: str
    install: str
    because: str
    needed: bool = True
    beside: str = ""


RULES = (
    Rule("torch", "2.13.", "2.13.0", "torchrec 1.8 and fbgemm 1.8 are built for torch 2.13"),
    Rule("torchrec", "1.8.", "1.8.0", "it goes with torch 2.13", needed=False),
    Rule("fbgemm", "1.8.", "1.8.0", "it goes with torchrec 1.8", needed=False),
    Rule("torchmetrics", "1.0.3", "1.0.3", "torchrec 1.8 pins it", needed=False, beside="torchrec"),
    Rule("pyarrow", "<26", "25.0.1", "mlflow 3.17 needs pyarrow below 26"),
    Rule("mlflow", "3.", "3.17.2", "runs and models are kept in MLflow 3"),
    Rule("polars", "2.", "2.1.0", "features are prepared with polars 2"),
    Rule("torchjd", "0.18.", "0.18.0", "its API moves between minor releases"),
)


@dataclass(frozen=True)
class Trouble:
    """Something wrong, and the command that mends it; `optional` where training works anyway."""

    what: str
    mend: str
    optional: bool = False


def check(versions: Versions, failures: Mapping[str, str]) -> list[Trouble]:
    """Judge an environment.

    Args:
        versions: installed version by package, None where missing; `fbgemm-gpu` and
            `fbgemm-gpu-cpu` are the two builds of fbgemm.
        failures: modules whose import failed, with the last line that it said.
    """
    return [*_judge_versions(versions), *_judge_imports(versions, failures)]


def _judge_versions(versions: Versions) -> Iterator[Trouble]:
    builds = [name for name in ("fbgemm-gpu", "fbgemm-gpu-cpu") if versions.get(name)]
    if len(builds) == 2:
        mend = f"pip uninstall -y {' '.join(builds)} && {_install(versions, 'fbgemm', '1.8.0')}"
        yield Trouble("fbgemm-gpu and fbgemm-gpu-cpu are the same module, installed twice", mend)
    for rule in RULES:
        found = versions.get(builds[0] if rule.package == "fbgemm" and builds else rule.package)
        mend = _install(versions, rule.package, rule.install)
        if found is None:
            if rule.needed or (rule.beside and versions.get(rule.beside)):
                yield Trouble(f"{rule.package} is missing: {rule.because}", mend)
            elif not rule.beside:
                yield Trouble(f"{rule.package} is missing: plain tables are used", mend, True)
        elif not _fits(found, rule.release):
            yield Trouble(f"{rule.package} {found} does not fit: {rule.because}", mend)


def _fits(version: str, release: str) -> bool:
    if release.startswith("<"):
        return int(version.split(".")[0]) < int(release[1:])
    return f"{version.partition('+')[0]}.".startswith(release)


def _judge_imports(versions: Versions, failures: Mapping[str, str]) -> Iterator[Trouble]:
    if message := failures.get("torch"):
        if versions.get("torch"):
            mend = f"{_install(versions, 'torch', '2.13.0')} --force-reinstall"
            yield Trouble(f"torch does not import: {message}", mend)
        return  # nothing else can import without it
    if message := failures.get("fbgemm_gpu"):
        mend = _install(versions, "fbgemm", "1.8.0")
        if versions.get("fbgemm-gpu") and _is_cpu(versions):
            mend = f"pip uninstall -y fbgemm-gpu && {mend}"
        yield Trouble(f"fbgemm does not import: {message}", mend)
    if (message := failures.get("torchrec")) and "fbgemm_gpu" not in failures:
        needs = "tensordict torchmetrics==1.0.3 pyre-extensions iopath tqdm"
        mend = f"{_install(versions, 'torchrec', '1.8.0')} {needs}"
        yield Trouble(f"torchrec does not import: {message}", mend)


def _is_cpu(versions: Versions) -> bool:
    return "+cpu" in (versions.get("torch") or "")


def _install(versions: Versions, package: str, version: str) -> str:
    """The pip command; --no-deps where the resolver would pull the CUDA build of fbgemm."""
    if package == "fbgemm":
        package = "fbgemm-gpu-cpu" if _is_cpu(versions) else "fbgemm-gpu"
    alone = "--no-deps " if package in ("torchrec", "fbgemm-gpu-cpu", "fbgemm-gpu") else ""
    return f"pip install {alone}{package}=={version}"


def installed() -> dict[str, str | None]:
    """Versions of the packages that `check` judges."""
    names = [rule.package for rule in RULES if rule.package != "fbgemm"]
    return {name: _version(name) for name in (*names, "fbgemm-gpu", "fbgemm-gpu-cpu")}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_PROBE_DEVICES = """
import json, torch
properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({
    "cuda": [f"{p.name}, {p.total_memory / 2**30:.0f} GiB" for p in properties],
    "mps": torch.backends.mps.is_available(),
}))
"""


def probe(code: str) -> tuple[str, str]:
    """Run Python code in a process of its own: what it printed, and why it failed ("" if not)."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return "", "no answer in 300 s"
    lines = done.stderr.strip().splitlines()
    failure = (lines[-1] if lines else f"exit code {done.returncode}") if done.returncode else ""
    return done.stdout, failure


def _import_failures(versions: Versions) -> dict[str, str]:
    """Really import what is installed, each in a fresh process: a crash must not take us along."""
    fbgemm = versions["fbgemm-gpu"] or versions["fbgemm-gpu-cpu"]
    modules = {"fbgemm_gpu": fbgemm, "torchrec": versions["torchrec"]}
    tried = {name: probe(f"import {name}")[1] for name, version in modules.items() if version}
    return {name: failure for name, failure in tried.items() if failure}


def _processor() -> dict[str, Any]:
    """Model, cores and what matters for speed; flags are None where the system does not tell."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    flags = told["flags"].split() if "flags" in told else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "model": told.get("model name") or platform.processor() or platform.machine(),
        "cores": cores,
        "avx512": None if flags is None else "avx512f" in flags,
        "amx_bf16": None if flags is None else "amx_bf16" in flags,
        "memory_gib": _memory_gib(),
    }


def _memory_gib() -> float | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def diagnose() -> dict[str, Any]:
    """A report on this environment.

    Returns:
        `healthy`, `versions`, `troubles` (what, mend, optional), `devices` and `embeddings`, the
        backend that `auto` will choose.
    """
    versions = installed()
    devices_text, torch_failure = probe(_PROBE_DEVICES)
    failures = {"torch": torch_failure} if torch_failure else _import_failures(versions)
    troubles = check(versions, failures)
    torchrec = versions["torchrec"] and (versions["fbgemm-gpu"] or versions["fbgemm-gpu-cpu"])
    return {
        "healthy": all(trouble.optional for trouble in troubles),
        "versions": {"python": platform.python_version(), **versions},
        "troubles": [asdict(trouble) for trouble in troubles],
        "devices": {"cpu": _processor(), **json.loads(devices_text or "{}")},
        "embeddings": "torchrec" if torchrec and not failures else "plain",
    }


def doctor(out: Out = None) -> int:
    """Show versions, mismatches with their mend, and devices."""
    job = Job("doctor", out)
    result = diagnose()
    _show(result)
    job.write(result)
    return DONE if result["healthy"] else UNHEALTHY


def _show(result: Mapping[str, Any]) -> None:
    for name, version in result["versions"].items():
        print(f"{name:<16}{version or '-'}")
    print()
    for name, value in result["devices"]["cpu"].items():
        print(f"cpu {name:<12}{_word(value)}")
    print(f"{'cuda':<16}{'; '.join(result['devices'].get('cuda', ())) or 'none'}")
    print(f"{'mps':<16}{'yes' if result['devices'].get('mps') else 'none'}")
    print(f"{'embeddings':<16}auto takes {result['embeddings']}")
    print()
    for trouble in result["troubles"]:
        kind = "could be better" if trouble["optional"] else "wrong"
        print(f"{kind}: {trouble['what']}\n    mend: {trouble['mend']}")
    print("healthy" if result["healthy"] else "not healthy")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
