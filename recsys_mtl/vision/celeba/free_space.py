"""The folder of the cache, before decoding: writable, tidy and with enough free space."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from recsys_mtl.errors import wrong
from recsys_mtl.files import TEMPORARY
from recsys_mtl.vision.celeba.cache import DecodePlan

_SPARE = 16 << 20  # for the small files, and what the file system needs itself


def prepare_cache(folder: Path, plans: Sequence[DecodePlan]) -> None:
    """Makes the folder, and deletes what killed runs left of these arrays.

    Raises:
        UserError: the folder cannot be written to, or has no free space for the arrays.
    """
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
    for plan in plans:
        for path in folder.glob(f"{plan.array.stem}.*{TEMPORARY}*"):
            process = path.name.rpartition(TEMPORARY)[2].partition("-")[0]
            if process.isdecimal() and not _runs(int(process)):
                with suppress(OSError):
                    path.unlink()
    needed = sum(math.prod(plan.shape) for plan in plans) + _SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise wrong(
            "no free space for the decoded images",
            where=str(folder),
            expected=f"{needed / 2**30:.2f} GiB free",
            found=f"{free / 2**30:.2f} GiB",
            fix="free some, name another folder as the cache, or choose a smaller size",
        )


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
