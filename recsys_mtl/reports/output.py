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
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write, folder_made
from recsys_mtl.storage.location import Location, OneKind, located
from recsys_mtl.storage.remote_path import RemotePath
from recsys_mtl.version import installed_version

_FIX = "give another folder with --out"


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


def write_result(out: OneKind, result: Mapping[str, Any]) -> OneKind:
    """Write `result` to `out`/result.json atomically.

    Numpy's numbers and arrays, and paths, are allowed; numbers that are not finite become null.

    Raises:
        TypeError: a value that JSON cannot hold.
    """
    text = json.dumps(plain(result), indent=2, allow_nan=False, ensure_ascii=False)
    return atomic_write(out / "result.json", text + "\n")


def prepare_out(out: str | Path, job: str = "", files: Iterable[str] = ()) -> Path:
    """`prepare_location` of a folder on a disk.

    Raises:
        UserError: as there; or it is a URI of a store.
    """
    folder = located(out)
    if isinstance(folder, RemotePath):
        what = "this output folder must be on a disk"
        raise wrong(what, where=str(folder), fix=_FIX)
    prepare_location(folder, job, files)
    return folder


def prepare_location(out: Location, job: str = "", files: Iterable[str] = ()) -> None:
    """Make sure that a job can write to the folder `out` and replaces nothing but its own results.

    The folder is made by the first file that is written: wrong input leaves none behind.

    Args:
        out: the folder.
        job: what writes a result.json there; empty: none is written.
        files: names of what else it writes there.

    Raises:
        UserError: it cannot be written to, or holds a file of one of these names that no earlier
            call of the same job wrote.
    """
    try:
        if isinstance(out, RemotePath):
            require_store(out)
        else:
            with folder_made(out), tempfile.TemporaryFile(dir=out):
                pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise wrong(
            "cannot write to the output folder", where=str(out), found=reason, fix=_FIX
        ) from error
    if job:
        require_ours(out, job, () if has_result(out, job) else files)


def require_store(path: RemotePath) -> None:
    """The store is there.

    Raises:
        UserError: it is not, or refuses.
    """
    if not path.store_exists():
        raise wrong(f"no such bucket: '{path.store}'", where=str(path), fix="make it first")


def require_ours(out: Location, job: str, files: Iterable[str]) -> None:
    """A job may write result.json and `files` to the folder.

    Raises:
        UserError: one of `files` is there, or a result.json of something else.
    """
    foreign = [] if has_result(out, job) else ["result.json"]
    for name in (*foreign, *files):
        path = out / name
        if path.exists() or (isinstance(path, Path) and path.is_symlink()):
            raise wrong(
                f"the output folder holds what no `{job}` wrote, which this one would replace",
                where=str(path),
                expected=f"a new folder, or one of an earlier `{job}`",
                found="a folder" if path.is_dir() else _described(path),
                fix=_FIX,
            )


def has_result(out: Location, job: str) -> bool:
    """Whether the folder holds a result of that job."""
    return read_result(out / "result.json").get("job") == job


def read_result(path: Location) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _described(path: Location) -> str:
    job = read_result(path).get("job")
    return f"the result of `{job}`" if isinstance(job, str) and job else "another file"


def plain(value: Any) -> Any:
    """`value` in JSON's own types; numbers that are not finite become None.

    Args:
        value: dataclasses, mappings, lists and tuples, paths, and what numpy and torch hold.
    """
    if isinstance(value, Path | RemotePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy or torch
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
