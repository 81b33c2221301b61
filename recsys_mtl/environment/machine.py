"""The processor and the memory."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def processor() -> dict[str, Any]:
    """Model, cores and what matters for speed; flags are None where unknown."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    flags = facts["flags"].split() if "flags" in facts else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": cores,
        "avx512": None if flags is None else "avx512f" in flags,
        "amx_bf16": None if flags is None else "amx_bf16" in flags,
        "memory_gib": _memory_gib(),
    }


def _memory_gib() -> float | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
