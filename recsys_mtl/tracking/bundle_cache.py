"""Bundles on this disk by the hash of their manifest, and the check against that hash."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recsys_mtl.errors import UserError, wrong

PIN = "bundle_sha256"
_MANIFEST = "manifest.json"
_CACHE = "RECSYS_MTL_CACHE"

logger = logging.getLogger(__name__)


def bundle_hash(folder: Path) -> str:
    """The sha256 of the bundle's manifest, which holds those of its other files."""
    return _sha256(folder / _MANIFEST)


def require_pinned(folder: Path, pin: str, *, where: str) -> None:
    """Check that every file of the bundle is the one that was registered; nothing else is read.

    Args:
        folder: the bundle.
        pin: sha256 of its manifest.
        where: its version, for messages.

    Raises:
        UserError: a file is missing or another one.
    """
    changed = _changed(folder, pin)
    if changed is not None:
        raise wrong(
            f"{changed} is not the file that was registered",
            where=where,
            expected=f"the bundle with {PIN} {pin}",
            fix="do not use this model; register the training's own again",
        )


def kept(pin: str, fetch: Callable[[Path], None]) -> Path:
    """The bundle of that hash in the user's cache; `fetch` fills a new folder where it is absent.

    The cache is `$RECSYS_MTL_CACHE`, else the folder `recsys-mtl` in `$XDG_CACHE_HOME` or
    ~/.cache. A bundle that was damaged there is fetched again.
    """
    folder = _cache() / "bundles" / pin
    if folder.is_dir():
        if _changed(folder, pin) is None:
            with suppress(OSError):
                os.utime(folder)  # for `prune`
            return folder
        logger.warning("%s was changed in the cache: it is fetched again", folder)
        shutil.rmtree(folder, ignore_errors=True)
    new = folder.with_name(f".{pin}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        fetch(new)
        return _moved(new, folder)
    except UserError:
        raise
    except OSError as error:
        fix = f"set {_CACHE} to a folder that can be written"
        raise wrong("cannot keep the model", where=str(folder), found=error, fix=fix) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def prune(most: int = 3, days: float = 1.0) -> None:
    """Remove bundles from the cache, the last `most` and those asked for in these days left out."""
    try:
        seen = sorted((_asked(folder), folder) for folder in (_cache() / "bundles").iterdir())
    except OSError:  # no cache, or another process prunes it
        return
    for asked, folder in seen[:-most]:
        if time.time() - asked > days * 86_400:
            shutil.rmtree(folder, ignore_errors=True)
            logger.info("%s is removed from the cache: nobody asked for it lately", folder.name)


def _asked(folder: Path) -> float:
    return folder.stat().st_mtime


def _moved(new: Path, folder: Path) -> Path:
    """Renamed; another process may have been first with the same files."""
    try:
        return new.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        return folder


def _changed(folder: Path, pin: str) -> str | None:
    """Name of the first file that differs from the pin."""
    try:
        if bundle_hash(folder) != pin:
            return _MANIFEST
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _MANIFEST
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or _sha256(path) != expected:
            return str(name)
    return None


def _cache() -> Path:
    if _CACHE in os.environ:
        return Path(os.environ[_CACHE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recsys-mtl"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
