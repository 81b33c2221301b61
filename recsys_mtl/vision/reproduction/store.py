"""Results of runs in a reproduction's folder: which are there, which are missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_mtl.config.flat import flat
from recsys_mtl.errors import wrong
from recsys_mtl.vision.reproduction.recipe import Job
from recsys_mtl.vision.reproduction.unit import Unit


def missing(jobs: Sequence[Job], out: Path) -> list[Job]:
    """Those without a result."""
    return [job for job in jobs if not job.path(out).exists()]


def stored(jobs: Sequence[Job], out: Path) -> list[Unit]:
    """The results that are there, in the order of the jobs.

    Raises:
        UserError: a file is not the result of its run.
    """
    return [_read(job, job.path(out)) for job in jobs if job.path(out).exists()]


def same_images(units: Sequence[Unit], *, seed: int, rows: Sequence[int], identity: str) -> None:
    """Refuse results of other images.

    Args:
        units: of any seeds and sizes.
        seed: that the identity is of.
        rows: (train, test) images that it is of.
        identity: of the images at hand.

    Raises:
        UserError: a result of the same seed and size is of other images.
    """
    for unit in units:
        comparable = unit["seed"] == seed and unit["images"][:2] == list(rows)
        other_size = unit["images"][2:] != units[0]["images"][2:]
        if other_size or (comparable and unit["identity"] != identity):
            raise wrong(
                "the folder holds results of other images",
                expected="the same data as when it was begun", found=unit["source"],
                fix="give the same --data, or another --out",
            )  # fmt: skip


def _read(job: Job, path: Path) -> Unit:
    try:
        unit: Unit = json.loads(path.read_text())
        found = (unit["key"], unit["seed"], unit["rerun"])
        if found == (job.recipe.key, job.seed, job.rerun) and _agrees(job, unit["settings"]):
            return unit
    except (ValueError, KeyError, TypeError) as error:
        found = repr(error)  # type: ignore[assignment]
    raise wrong(
        "not the result of that run", where=str(path),
        expected=f"{job.recipe.key}, seed {job.seed}, rerun {job.rerun}", found=found,
        fix="delete it, and run the same command again",
    )  # fmt: skip


def _agrees(job: Job, settings: Mapping[str, Any]) -> bool:
    """A default that has changed since does not change the key, but it does change the run."""
    mine, theirs = flat(job.recipe.settings()), flat(settings)
    return all(mine[key] == theirs[key] for key in mine.keys() & theirs.keys())
