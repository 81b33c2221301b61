"""What a job cost."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory_mb() -> float:
    """Largest resident set of this process so far, or since `reset_peak_memory`, in MiB."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, else KiB


def reset_peak_memory() -> None:
    """Count from here on, where the system allows it (Linux); elsewhere nothing happens."""
    with suppress(OSError):
        _RESET.write_text("5")
