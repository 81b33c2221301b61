"""The folder of the cache, before decoding: writable, tidy and with enough free space."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from recsys_mtl.errors import wrong
from recsys_mtl.files import TEMPORARY
from recsys_mtl.vision.celeba.cache import DecodePlan

_SPARE = 16 << 20  # for the small files, and what the file system needs itself


def prepare_cache(plans: Iterable[DecodePlan]) -> None:
    """Makes the folder, and deletes what killed runs left of these arrays.

    Raises:
        UserError: the folder cannot be written to, or has no free space for the arrays.
    """
    plans = list(plans)
    for folder in {plan.cache for plan in plans}:
        mine = [plan for plan in plans if plan.cache == folder]
        _require_writable(folder)
        for plan in mine:
            _delete_leftovers(plan)
        _require_free(folder, sum(plan.bytes for plan in mine) + _SPARE)


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise wrong(
            "cannot write the decoded images there",
            where=str(folder),
            found=error.strerror or error,
            fix="name a folder that can be written to as the cache",
        ) from error


def _require_free(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise wrong(
            "no free space for the decoded images",
            where=str(folder),
            expected=f"{needed / 2**30:.2f} GiB free",
            found=f"{free / 2**30:.2f} GiB",
            fix="free some, name another folder as the cache, or choose a smaller size",
        )


def _delete_leftovers(plan: DecodePlan) -> None:
    for path in plan.cache.glob(f"{plan.name}.*{TEMPORARY}*"):
        process = path.name.rpartition(TEMPORARY)[2].partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            with suppress(OSError):
                path.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
