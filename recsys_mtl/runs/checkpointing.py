"""A run's training with checkpoints: it is saved, resumed after a kill, and reported."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recsys_mtl import parallel
from recsys_mtl.checkpoints import Checkpoints, Saver
from recsys_mtl.config import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.fitting import Fitting
from recsys_mtl.data.loader import ChangedLoader, Loader
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.errors import wrong
from recsys_mtl.interrupt import Terminated, Termination
from recsys_mtl.runs.reference import ReferenceSampler
from recsys_mtl.runs.resume import (
    Resume,
    environment,
    find,
    identity,
    require_same,
    warn_of_differences,
)
from recsys_mtl.runs.track import track_epoch
from recsys_mtl.serving.reference import Reference
from recsys_mtl.tracking.run import Run
from recsys_mtl.training import Epoch, Trainer
from recsys_mtl.training.shards import of_first
from recsys_mtl.wiring.trainer import Recorder
from recsys_mtl.wiring.warm_start import Taken

log = logging.getLogger(__name__)
_INPUTS = "inputs.json"


class RunCheckpoints(Recorder):
    """The checkpoints of one run; of several processes the first one reads and writes them.

    Args:
        out: folder of the run, which holds its lock.
        config: of the run, before its recipe.
        resume: which checkpoint to resume from.

    Raises:
        UserError: the checkpoint is of another config, or cannot be used.
    """

    def __init__(self, out: Path, config: Config, resume: Resume) -> None:
        self._checkpoints = Checkpoints(out)
        self._settings = config.training.checkpoints
        self._first = parallel.rank() == 0
        self._identity = identity(config)
        self._termination = Termination()
        if self._first:
            self._checkpoints.remove_temporary()
        self._begun = find(self._checkpoints, resume)
        self._tracked: Run | None = None
        self._trainer: Trainer | None = None
        self._saver: Saver | None = None
        self._prepared: Prepared | None = None
        self._sampler: ReferenceSampler | None = None
        self._times: dict[str, float] = {}
        if self._begun is not None:
            before = self._begun.run
            require_same(self._begun.path, self._identity, before["config"])
            self._times = dict(before["times"])
            self.taken = None if before["taken"] is None else Taken(**before["taken"])

    @property
    def resumes(self) -> bool:
        """Whether the run was begun before."""
        return self._begun is not None

    @property
    def run_id(self) -> str | None:
        """The tracker's id of the run, if it was begun before."""
        return None if self._begun is None else self._begun.run["run_id"]

    @cached_property
    def fitted(self) -> Fitting | None:
        """What the run learned of its training rows, if it was begun before."""
        begun = self._begun
        if begun is None:
            return None
        return parallel.together(lambda: Fitting.from_files(begun.files, begun.path))

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Inside, SIGTERM ends the run, from within the training with a checkpoint.

        An error is passed on, after a line that names the checkpoint that is left.
        """
        with nullcontext() if self._settings.every is None else self._termination.handled():
            try:
                yield
            except Exception:
                steps = self._checkpoints.steps()
                if self._first and steps and not self._checkpoints.ended:
                    log.warning("%s is kept: the same command resumes there", steps[max(steps)])
                raise

    def watched(self, prepared: Prepared, sampler: ReferenceSampler) -> Prepared:
        """Take note of the data, whose evaluation may then be stopped by SIGTERM.

        Raises:
            UserError: the recipe decides otherwise than in the checkpoint.
        """
        if self._begun is None:
            if self._first:
                self._checkpoints.remove()
        else:
            derived = self._begun.run["derived"]
            require_same(self._begun.path, dict(prepared.derived), derived)
            stored = json.loads(self._begun.files[_INPUTS])
            sampler.inputs = Reference.from_dict(stored).expected
            if self._first:
                self._checkpoints.begin()
        self._prepared, self._sampler = prepared, sampler
        if self._settings.every is None:
            return prepared
        valid = _Stoppable(prepared.loaders["valid"], self._termination)
        return replace(prepared, loaders={**prepared.loaders, "valid": valid})

    def report_to(self, tracked: Run) -> None:
        """The tracker of the epochs; it gets those that it lacks."""
        self._tracked = tracked

    @contextmanager
    def fitting(self, trainer: Trainer, taken: Taken | None) -> Iterator[None]:
        """Load the checkpoint, if there is one; save now and then, and where SIGTERM comes.

        Raises:
            Terminated: SIGTERM came; a checkpoint is written.
        """
        self.taken, self._trainer = taken, trainer
        if self._begun is not None:
            self._load(trainer)
        settings = self._settings
        if settings.every is None:
            yield
            return
        self._saver = Saver(
            self._checkpoints,
            trainer,
            every=settings.every,
            unit=settings.unit,
            keep=settings.keep,
            run=self._run,
            files=self._files,
        )
        try:
            with self._termination.deferred():
                yield
        except Terminated:
            path = parallel.broadcast(_text(self._saver.save()))
            saved = "no checkpoint" if path is None else f"{path}: the same command resumes there"
            raise Terminated(f"terminated, {saved}") from None
        finally:
            self._saver.close()
            self._saver = None

    def on_step(self) -> None:
        """Save if it is time; end if SIGTERM came, to any process."""
        if self._saver is None:
            return
        flags = parallel.each_anywhere(self._saver.due(), self._termination.requested)
        due, terminated = flags
        if due:
            self._saver.take()
        if terminated:
            raise Terminated("terminated")

    def on_epoch(self, epoch: Epoch) -> None:
        """Report the epoch, then as after a batch."""
        self._times[str(epoch.number)] = time.time()
        self._report(epoch)
        self.on_step()

    def end(self) -> None:
        """The run has ended by itself: its checkpoints are not needed any more."""
        if not self._first:
            return
        if self._settings.after_end == "keep":
            self._checkpoints.end()
        else:
            self._checkpoints.remove()

    def _load(self, trainer: Trainer) -> None:
        assert self._begun is not None
        state = self._begun.state
        embeddings = trainer.step.network.embeddings
        if parallel.several():
            state = {**state, "tensors": of_first(state["tensors"], embeddings)}
        try:
            trainer.load_state_dict(state)
        except ValueError as error:
            raise wrong(
                "the checkpoint does not fit this version of recsys-mtl",
                where=str(self._begun.path),
                found=error,
                fix="use the version that wrote it, or start anew with --resume never",
            ) from error
        log.info("resumed from %s", self._begun.path)
        warn_of_differences(self._begun.run["environment"])
        for epoch in trainer.epochs:
            self._report(epoch)
        self._begun.state["tensors"].clear()

    def _report(self, epoch: Epoch) -> None:
        if self._tracked is not None:
            assert self._prepared is not None
            at = self._times.get(str(epoch.number))
            track_epoch(self._tracked, self._prepared.config, epoch, at=at)

    def _run(self) -> dict[str, Any]:
        assert self._prepared is not None
        return {
            "config": self._identity,
            "derived": dict(self._prepared.derived),
            "environment": environment(),
            "taken": None if self.taken is None else asdict(self.taken),
            "run_id": None if self._tracked is None else self._tracked.id,
            "times": self._times,
        }

    def _files(self) -> dict[str, bytes | Path]:
        assert self._prepared is not None
        assert self._sampler is not None
        inputs = json.dumps(Reference(self._sampler.inputs, "train").to_dict(), allow_nan=False)
        fitting = self._prepared.fitting
        return {**fitting.to_files(), **fitting.preprocessor.files, _INPUTS: inputs.encode()}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


class _Stoppable(ChangedLoader):
    """Batches of an evaluation, which ends by `Terminated` where SIGTERM came to any process."""

    def __init__(self, loader: Loader, termination: Termination) -> None:
        super().__init__(loader)
        self._termination = termination

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first `start_batch` ones; a collective each."""
        for batch in parallel.in_step(super().epoch(epoch, start_batch)):
            if parallel.anywhere(self._termination.requested):
                raise Terminated("terminated")
            yield batch

    def _changed(self, batch: Batch) -> Batch:
        return batch
