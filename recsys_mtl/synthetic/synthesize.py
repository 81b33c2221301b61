"""A folder of generated rows whose truth is known."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from data_synth import Plan
from data_synth import synthesize as fill
from data_synth.load import plan_hash
from recsys_mtl.memory import peak_memory_mb
from recsys_mtl.processes import require_one_process
from recsys_mtl.progress import progress
from recsys_mtl.storage.location import located
from recsys_mtl.storage.remote_path import RemotePath

log = logging.getLogger(__name__)


def synthesize(
    plan: Plan, *, rows: int, out: str | Path | RemotePath, processes: int | None = None
) -> dict[str, Any]:
    """Fill a folder; see data_synth/write.py for its files.

    Args:
        plan: a checked plan, such as `data_synth.load_plan` gives.
        rows: number of rows.
        out: a new or empty folder, or one in which the same job was started: it is resumed.
        processes: worker processes; None: one a core.

    Returns:
        What result.json holds.

    Raises:
        UserError: `out` cannot be written to, or holds something else.
        KeyboardInterrupt: Ctrl-C; the same call resumes after the finished chunks.
    """
    require_one_process()
    started = time.perf_counter()
    try:
        with progress("synthesize", rows) as advance:
            fill(plan, located(out), rows=rows, processes=processes, progress=advance)
    except KeyboardInterrupt:
        log.warning("the same command resumes where this one stopped")
        raise
    seconds = time.perf_counter() - started
    return {
        "config_hash": plan_hash(plan),
        "name": plan.name,
        "seed": plan.seed,
        "rows": rows,
        "rows_per_second": round(rows / max(seconds, 1e-9), 1),
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }
