"""The trainer: the only owner of time (epoch, step) and of a run's complete state.

It trains, evaluates on the validation rows after every epoch, keeps the best weights and stops
early. It does not depend on files, trackers or method names.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.data.batch import never_empty
from recsys_mtl.data.loader import Loader
from recsys_mtl.interrupt import graceful_interrupt
from recsys_mtl.progress import progress
from recsys_mtl.training.average import Average, Averaging
from recsys_mtl.training.best import Best
from recsys_mtl.training.history import Epoch, History, Validation
from recsys_mtl.training.optim import schedule_factor
from recsys_mtl.training.running import RunningEpoch
from recsys_mtl.training.shards import own_rows
from recsys_mtl.training.skips import Skips
from recsys_mtl.training.state import (
    Rng,
    StateOwner,
    TrainingState,
    collect,
    reserve,
    restore,
    with_own_rng,
)
from recsys_mtl.training.step import StepResult, TrainingStep
from recsys_mtl.training.step_state import step_parts

log = logging.getLogger(__name__)
Stopped = Literal["finished", "early", "interrupted"]
_READ_EVERY = 50
"""Steps between two readings of an accelerator, each of which waits for it."""
_STOPPED = {"finished": "finished", "early": "stopped early", "interrupted": "was interrupted"}


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train and when to stop.

    Attributes:
        epochs: passes over the training rows.
        schedule: of the learning rate after the warm-up.
        warmup: share of all steps with a rising rate.
        larger_is_better: direction of the watched score.
        patience: epochs without a better score before stopping; None never stops.
        min_delta: a gain has to exceed it to count as better.
        keep_best: whether the best epoch's weights are kept, or the last one's.
        max_nonfinite: consecutive skipped batches that end the run; on an accelerator they are
            counted only every `_READ_EVERY` steps.
        averaging: of the weights over steps; the average is evaluated and kept. None: off.
    """

    epochs: int
    schedule: Literal["cosine", "constant"]
    warmup: float
    larger_is_better: bool
    patience: int | None
    min_delta: float
    keep_best: bool
    max_nonfinite: int
    averaging: Averaging | None = None


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training; `best_epoch` is the one whose weights are kept."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped: Stopped
    skipped: int


class Trainer:
    """Trains by a plan; its state can be stored after any batch and any epoch.

    A new trainer with the same settings and data that loads a stored state ends with the same
    weights, numbers and results, bit for bit on the same CPU, as one that was never stopped::

        trainer = Trainer(step, loader, validate, plan, on_step=lambda: store(trainer.state_dict()))
        trainer.load_state_dict(stored)  # if a state is stored
        result = trainer.fit()

    Args:
        step: one training step; owns the network, the optimizers and the methods.
        loader: the training rows.
        validate: evaluates the network after the epoch of that number.
        plan: how long, and when to stop.
        on_epoch: called with every finished epoch, when the state includes it.
        on_step: called after every batch, when the state includes it.
    """

    def __init__(
        self,
        step: TrainingStep,
        loader: Loader,
        validate: Callable[[int], Validation],
        plan: TrainingPlan,
        *,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.step = step
        self.plan = plan
        self._loader = loader
        self._validate = validate
        self._on_epoch = on_epoch
        self._on_step = on_step
        self._restored = False
        self._history = History()
        self._running = RunningEpoch(step.network.task_names, step.device)
        self._skips = Skips(plan.max_nonfinite, step.network.task_names)
        self._best = Best(
            step.network,
            larger_is_better=plan.larger_is_better,
            min_delta=plan.min_delta,
            keep_weights=plan.keep_best,
        )
        self._unread: list[StepResult] = []
        averaging = plan.averaging
        self._average = None if averaging is None else Average(step.network, averaging)
        self._parts: dict[str, StateOwner] = {
            **step_parts(step),
            "rng": Rng(step.device),
            "running": self._running,
            "skips": self._skips,
            "best": self._best,
            "history": self._history,
        }
        if self._average is not None:
            self._parts["average"] = self._average

    def fit(self) -> TrainingResult:
        """Train to the end and leave the best epoch's weights in the network, or the last one's.

        The first Ctrl-C or SIGTERM ends it after the current batch and keeps the weights, unless
        the program handles SIGTERM itself.

        Raises:
            UserError: the losses stay non-finite.
        """
        stopped = self._reason_to_stop()
        if self._restored and stopped is None:
            raise RuntimeError("fit: the best weights are back after an interrupt; load a state")
        with graceful_interrupt() as requested:

            def stop_requested() -> bool:
                return parallel.anywhere(requested())  # a signal reaches processes at other steps

            while stopped is None:
                self._run_epoch(stop_requested)
                stopped = "interrupted" if stop_requested() else self._reason_to_stop()
        if self._average is not None:
            self._average.restore()
        self._best.restore()
        self._restored = True
        epochs, best = self._history.epochs, self._best.epoch
        if all(epoch.score is None for epoch in epochs):
            log.warning("the metric of early stopping was never defined: the last weights are kept")
        log.info("training %s; best epoch %d of %d", _STOPPED[stopped], best + 1, len(epochs))
        early = self.plan.patience is not None and epochs[best].score is not None
        if early and stopped == "finished" and 0 < best == len(epochs) - 1:
            log.warning("the best epoch is the last: more epochs may give a better model")
        kept = best if self.plan.keep_best else epochs[-1].number
        return TrainingResult(epochs, kept, stopped, self._skips.total)

    @property
    def steps(self) -> int:
        """Batches that are done, of all epochs."""
        return self._running.number * max(1, self._loader.num_batches) + self._running.batch

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """Those that are done."""
        return self._history.epochs

    def state_dict(self) -> TrainingState:
        """The complete state to resume from: live tensors, and values that JSON can hold.

        After `fit` has restored the best weights nothing is left to resume.
        """
        self._read()
        return collect(self._parts)

    def load_state_dict(self, state: TrainingState) -> None:
        """Take over the state of a trainer with the same settings and data, before `fit`.

        Sharded tables may be complete: a process takes its own rows. The same for random numbers;
        a process that the state does not know gets new ones.

        Raises:
            ValueError: the state of another kind of training.
        """
        own = own_rows(with_own_rng(state["tensors"]), self.step.network.embeddings)
        restore(self._parts, {**state, "tensors": own})
        self._unread.clear()
        self._restored = False

    def reserve(self, values: Mapping[str, Any]) -> dict[str, Tensor]:
        """The live tensors of a state with these values, for a reader that fills them in place.

        They then go into `load_state_dict` with the same values.
        """
        return reserve(self._parts, values)

    def _reason_to_stop(self) -> Stopped | None:
        """The reason to stop; None: another epoch follows."""
        done, patience = self._running.number, self.plan.patience
        stale = done - 1 - self._best.epoch
        if patience is not None and self._best.score is not None and stale >= patience:
            return "early"
        return "finished" if done >= self.plan.epochs else None

    def _run_epoch(self, stop_requested: Callable[[], bool]) -> None:
        """Train the rest of the epoch, then evaluate."""
        number = self._running.number
        self.step.start_epoch(number)
        self._train(stop_requested)
        parallel.require_same(self.step.network.dense_parameters(), "the dense parameters")
        trained = self._trained_epoch()
        with nullcontext() if self._average is None else self._average.in_network():
            # an error in here leaves the state of the last batch, which can be stored
            epoch = replace(trained, validation=self._validate(number))
            self._history.add(epoch)
            self._best.update(number, epoch.score)
        self.step.balancer.epoch_end()
        self._running.start(number + 1)
        self._on_epoch(epoch)

    def _train(self, stop_requested: Callable[[], bool]) -> None:
        step, running, plan, loader = self.step, self._running, self.plan, self._loader
        per_epoch = max(1, loader.num_batches)
        total = plan.epochs * per_epoch
        if running.batch >= per_epoch:
            return  # a stream would read the complete epoch for nothing
        step.network.train()
        title = f"epoch {running.number + 1}/{plan.epochs}"
        begun = time.perf_counter()
        with progress(title, loader.num_rows, done=running.rows) as advance:
            for batch in parallel.in_step(loader.epoch(running.number, running.batch)):
                index = running.number * per_epoch + running.batch
                factor = schedule_factor(
                    index, total_steps=total, warmup=plan.warmup, kind=plan.schedule
                )
                step.set_rate(factor)
                result = step(never_empty(batch).to(step.device), index)
                if self._average and index >= self._average.start * total and result.updated:
                    self._average.add()
                self._unread.append(result)
                running.done(result, rate_factor=factor)
                last = running.batch >= per_epoch
                if step.waits or last or len(self._unread) >= _READ_EVERY:
                    rows = sum(result.rows for result in self._unread)
                    self._read()
                    advance(rows, f"loss {result.losses.mean().item():.4f}")
                running.seconds += time.perf_counter() - begun
                self._on_step()
                begun = time.perf_counter()
                if stop_requested():
                    break
        self._read()

    def _read(self) -> None:
        """Take the results of the steps since the last time into the counts; waits for the device.

        Raises:
            UserError: too many batches in a row were skipped.
        """
        there = [result.updated for result in self._unread if isinstance(result.updated, Tensor)]
        flags = iter(torch.stack(there).tolist() if there else ())
        while self._unread:
            result = self._unread.pop(0)
            known = isinstance(result.updated, bool)
            read = result if known else replace(result, updated=next(flags))
            self._running.add(read)
            self._skips.update(read)

    def _trained_epoch(self) -> Epoch:
        """The epoch's training numbers, without its validation."""
        step, running = self.step, self._running
        weights = step.balancer.weights().tolist()
        return Epoch(
            number=running.number,
            train_losses=running.losses(),
            labelled=running.labelled(),
            seconds=running.seconds,
            rows=running.rows,
            skipped=running.skipped,
            learning_rate_factor=running.rate_factor,
            loss_weights=dict(zip(step.network.task_names, weights, strict=True)),
            transfer=None if step.transfer is None else step.transfer.diagnostics(),
            conflicts=None if step.combining is None else step.combining.diagnostics(),
        )
