"""Which checkpoint a training resumes from, and whether it is one of the same training."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from recsys_mtl import parallel
from recsys_mtl.checkpoints import Checkpoint, Checkpoints, DamagedError
from recsys_mtl.config import Config
from recsys_mtl.config.flat import flat
from recsys_mtl.environment.machine import processor
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.native import kernels
from recsys_mtl.tracking.uri import without_secrets
from recsys_mtl.version import installed_version

log = logging.getLogger(__name__)
Resume = Literal["auto", "never"] | int
"""`auto`: from the newest checkpoint that is not damaged, if there is one; `never`; or the step."""
_FREE = ("training.checkpoints.", "training.distributed.", "training.threads", "data.rows_on")
_ANEW = "start anew with --resume never, or give another folder with --out"


def find(checkpoints: Checkpoints, resume: Resume) -> Checkpoint | None:
    """The checkpoint to resume from; None: the training starts anew.

    Of several processes the first one reads it; the others get all but its tensors.

    Raises:
        UserError: there is none of that step, or it is damaged.
    """
    checkpoint = parallel.on_first(lambda: _find(checkpoints, resume))
    return _of_first(checkpoint) if parallel.several() else checkpoint


def _of_first(own: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint of rank 0."""
    known = parallel.broadcast(
        None if own is None else [str(own.path), own.state["values"], own.run]
    )
    if known is None:
        return None
    files = parallel.broadcast_files(None if own is None else own.files)
    path, values, run = known
    tensors = {} if own is None else own.state["tensors"]
    return Checkpoint(Path(path), {"tensors": tensors, "values": values}, run, files)


def _find(checkpoints: Checkpoints, resume: Resume) -> Checkpoint | None:
    steps = checkpoints.steps()
    if resume == "never" or (resume == "auto" and checkpoints.ended):
        return None
    if resume == "auto":
        for step in sorted(steps, reverse=True):
            try:
                return checkpoints.read(step)
            except DamagedError as error:
                log.warning("%s is damaged and not used: %s", steps[step], error)
        return None
    if resume not in steps:
        raise wrong(
            "no checkpoint of this step",
            where=f"--resume {resume}",
            expected=" or ".join(map(str, steps)) or "auto, as there is none",
        )
    try:
        return checkpoints.read(resume)
    except DamagedError as error:
        raise _unusable(steps[resume], error) from error


def identity(config: Config) -> dict[str, Any]:
    """What has to be the same in a resumed run: every key that its numbers depend on."""
    keys = flat(without_secrets(config).model_dump())
    kept = {key: value for key, value in keys.items() if not key.startswith(_FREE)}
    return dict(json.loads(json.dumps(kept)))


def require_same(where: Path, now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """The run is the one that a checkpoint was written by.

    Args:
        where: the checkpoint.
        now: keys of the run.
        before: those of the checkpoint.

    Raises:
        UserError: it is not; names the first key that differs.
    """
    if list(now.items()) == list(before.items()):
        return
    names = [name for name in {**before, **now} if now.get(name) != before.get(name)]
    first = names[0] if names else "the order of its keys"
    raise wrong(
        f"the checkpoint is of another config: {first} differs",
        where=str(where),
        expected=json.dumps(before.get(first)) if names else "",
        found=json.dumps(now.get(first)) if names else "",
        fix=_ANEW,
    )


def environment() -> dict[str, Any]:
    """What the last bits of a training's numbers depend on, in addition to config and data."""
    return {
        "recsys-mtl": installed_version(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "processes": parallel.world(),
        "processor": f"{platform.machine()} {processor()['model']}",
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "native kernel": native.variant if (native := kernels()) else "none",
    }


def warn_of_differences(before: Mapping[str, Any]) -> None:
    """Warn where a resumed training may differ in the last bits from one that was not killed."""
    now = environment()
    before = {"processes": 1, "native kernel": now["native kernel"], **before}  # in no older ones
    names = [name for name in now if now[name] != before.get(name)]
    if names:
        shown = ", ".join(f"{name} {before.get(name)} is now {now[name]}" for name in names)
        log.warning("resumed, but not bit for bit as without the kill: %s", shown)


def _unusable(path: Path, error: Exception) -> UserError:
    fix = "use another step or --resume auto"
    return wrong("the checkpoint is damaged", where=str(path), found=error, fix=fix)
