"""What jobs write: an output folder and a result.json.

Every job with an `--out` folder writes `result.json` there as its last act: strict JSON (UTF-8,
no NaN: a number that is not finite is null) with this envelope around what the job adds:

    job          "train", "evaluate", …
    version      version of recsys-mtl
    started      when the job started, ISO 8601, UTC
    seconds      how long it took
    config_hash  sixteen hexadecimal digits naming the effective config; null without a config
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.version import installed_version


def envelope(job: str, *, started: datetime, config_hash: str | None = None) -> dict[str, Any]:
    """The head of a job's result; see the module's docstring.

    Args:
        job: name of the job.
        started: when it started, with a time zone.
        config_hash: of the effective config.
    """
    return {
        "job": job,
        "version": installed_version(),
        "started": started.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
        "config_hash": config_hash,
    }


def write_result(out: Path, result: Mapping[str, Any]) -> Path:
    """Write `result` to `out`/result.json atomically.

    Numpy's numbers and arrays, and paths, are allowed; numbers that are not finite become null.

    Raises:
        TypeError: a value that JSON cannot hold.
    """
    text = json.dumps(plain(result), indent=2, allow_nan=False, ensure_ascii=False)
    return atomic_write(out / "result.json", text + "\n")


def prepare_out(out: str | Path) -> Path:
    """Make the folder `out` and make sure that it can be written to.

    Raises:
        UserError: it cannot.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "give another folder with --out"
        raise wrong(
            "cannot write to the output folder", where=str(out), found=reason, fix=fix
        ) from error


def plain(value: Any) -> Any:
    """`value` in JSON's own types; numbers that are not finite become None.

    Args:
        value: dataclasses, mappings, lists and tuples, paths, and what numpy and torch hold.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy or torch
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
