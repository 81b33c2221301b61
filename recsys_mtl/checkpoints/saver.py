"""When a training is saved: copied on its thread, written and hashed on another one."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.checkpoints.folder import Checkpoints
from recsys_mtl.files import free_space
from recsys_mtl.memory import in_bytes, peak_memory_mb, total_memory
from recsys_mtl.tensor_file import Pieces
from recsys_mtl.training import Trainer
from recsys_mtl.training.shards import on_first
from recsys_mtl.training.state import with_all_rng

log = logging.getLogger(__name__)


class Saver:
    """Saves a trainer every so often; at most one checkpoint is being written.

    The training waits for the copy of its state alone. Where memory has no room for a copy, it
    waits for the writing, and so it does where processes share tables. A checkpoint that cannot be
    written costs a warning. Of several processes the first one decides and writes; all have to call
    `take` and `save`.

    Args:
        checkpoints: where to.
        trainer: of what.
        every: so many of `unit` apart.
        unit: of `every`.
        keep: newest ones that stay, in addition to the one of the best epoch.
        run: JSON values of the run, at the time of a checkpoint.
        files: the run's other files, by name; asked for once, on the writer's thread.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        trainer: Trainer,
        *,
        every: float,
        unit: Literal["minutes", "steps", "epochs"],
        keep: int,
        run: Callable[[], Mapping[str, Any]],
        files: Callable[[], Mapping[str, bytes | Path]],
    ) -> None:
        self._checkpoints = checkpoints
        self._trainer = trainer
        self._every = every * 60 if unit == "minutes" else every
        self._unit = unit
        self._keep = keep
        self._run = run
        self._files = cache(files)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Path | None] | None = None
        self._last = self._now()
        self._warned: set[str] = set()

    def due(self) -> bool:
        """Whether it is time to save, and the writer is free; never in other processes."""
        if parallel.rank() or self._now() - self._last < self._every:
            return False
        return self._writing is None or self._writing.done()

    def take(self) -> None:
        """Save what a batch or an epoch has left, without waiting for the writer."""
        self._last = self._now()
        self._save(wait=False)

    def save(self) -> Path | None:
        """Save now, and wait for it; None where it could not be written."""
        self.wait()
        return self._save(wait=True)

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._writing is not None:
            self._writing.result()

    def close(self) -> None:
        """Wait, and end the thread."""
        self._thread.shutdown(wait=True)

    def _now(self) -> float:
        if self._unit == "minutes":
            return time.monotonic()
        return self._trainer.steps if self._unit == "steps" else len(self._trainer.epochs)

    def _save(self, *, wait: bool) -> Path | None:
        state = self._trainer.state_dict()
        save = partial(self._save_complete, state["values"], wait=wait)
        if not parallel.several():
            return save(state["tensors"])
        embeddings = self._trainer.step.network.embeddings
        return on_first(embeddings, with_all_rng(state["tensors"]), save)

    def _save_complete(
        self, training: Mapping[str, Any], tensors: Mapping[str, Tensor | Pieces], *, wait: bool
    ) -> Path | None:
        size = sum(t.nbytes for t in tensors.values())
        if free_space(self._checkpoints.folder) < 2 * size:
            self._warn(f"a checkpoint needs {in_bytes(2 * size)} of free disk: none is written")
            return None
        values = {"training": training, "run": dict(self._run())}
        values = json.loads(json.dumps(values))  # a copy
        step = self._trainer.steps
        here = {name: t for name, t in tensors.items() if isinstance(t, Tensor)}
        if wait or len(here) < len(tensors) or size > _room() / 2:
            return self._write(step, tensors, values)
        copies = {name: _copy(tensor) for name, tensor in here.items()}
        self._writing = self._thread.submit(self._write, step, copies, values)
        return None

    def _write(
        self, step: int, tensors: Mapping[str, Tensor | Pieces], values: Mapping[str, Any]
    ) -> Path | None:
        begun = time.perf_counter()
        try:
            path = self._checkpoints.write(step, tensors, values, self._files())
            self._prune(step)
        except OSError as error:
            self._warn(f"a checkpoint could not be written, training continues: {error}")
            return None
        log.debug("%s written in %.2f s", path, time.perf_counter() - begun)
        return path

    def _prune(self, newest: int) -> None:
        """Delete all but the newest ones and the best one; later ones are of another attempt."""
        steps = list(self._checkpoints.steps())
        kept = [step for step in steps if step <= newest][-self._keep :]
        self._checkpoints.remove(step for step in steps if step > newest)
        kept += [step] if (step := self._checkpoints.best()) is not None else []
        self._checkpoints.remove(step for step in steps if step <= newest and step not in kept)

    def _warn(self, text: str) -> None:
        level = logging.DEBUG if text in self._warned else logging.WARNING
        self._warned.add(text)
        log.log(level, "%s: %s", self._checkpoints.folder, text)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _room() -> float:
    """Bytes of memory that this process has not used yet."""
    total = total_memory()
    return float("inf") if total is None else total - peak_memory_mb() * 2**20
