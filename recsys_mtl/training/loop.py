"""The loop over epochs; the only owner of time (epoch, step).

It trains, evaluates on the validation rows after every epoch, keeps the best weights and stops
early. It knows nothing of files, trackers or method names.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from recsys_mtl.data.loader import Loader
from recsys_mtl.errors import wrong
from recsys_mtl.interrupt import graceful_interrupt
from recsys_mtl.progress import progress
from recsys_mtl.training.optim import schedule_factor
from recsys_mtl.training.step import StepResult, TrainingStep

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How long to train and when to stop.

    Attributes:
        epochs: passes over the training rows.
        schedule: what follows the warm-up of the learning rate.
        warmup: share of all steps with a rising rate.
        larger_is_better: direction of the watched score.
        patience: epochs without a better score before stopping; None never stops.
        min_delta: smallest difference that counts as better.
        keep_best: whether the best epoch's weights are kept, or the last one's.
        max_nonfinite: skipped batches in a row that end the run.
    """

    epochs: int
    schedule: Literal["cosine", "constant"]
    warmup: float
    larger_is_better: bool
    patience: int | None
    min_delta: float
    keep_best: bool
    max_nonfinite: int


@dataclass(frozen=True)
class Epoch:
    """One epoch's outcome.

    Attributes:
        score: the watched validation value; None: undefined.
        transfer: `AdaTT.diagnostics` at its end; None: adaTT is off.
        conflicts: `Combining.diagnostics` of it; None: no step's gradients were combined.
    """

    number: int
    train_losses: dict[str, float]
    labelled: dict[str, int]
    seconds: float
    rows: int
    skipped: int
    learning_rate_factor: float
    loss_weights: dict[str, float] = field(default_factory=dict)
    transfer: dict[str, Any] | None = None
    conflicts: dict[str, Any] | None = None
    score: float | None = None

    @property
    def rows_per_second(self) -> float:
        """Training throughput of this epoch, validation excluded."""
        return self.rows / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class FitResult:
    """The whole training; `best_epoch` is the one whose weights are kept."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped: Literal["finished", "early", "interrupted"]
    skipped: int


class Skips:
    """Counts skipped batches and ends the run after too many in a row."""

    def __init__(self, limit: int, tasks: tuple[str, ...]) -> None:
        self.total = 0
        self._in_a_row = 0
        self._limit = limit
        self.tasks = tasks

    def see(self, result: StepResult) -> None:
        """Count one step.

        Raises:
            UserError: `limit` batches in a row were skipped; names the tasks at fault.
        """
        if result.updated:
            self._in_a_row = 0
            return
        self.total += 1
        self._in_a_row += 1
        names = [self.tasks[i] for i in result.bad_tasks]
        blamed = f"the loss of {', '.join(names)}" if names else "the gradient"
        told = result.problem or f"{blamed} is not finite"
        if self._in_a_row == 1:
            log.warning("batch skipped: %s", told)
        if self._in_a_row >= self._limit:
            raise wrong(
                f"training diverged: {told}, {self._in_a_row} batches in a row",
                where="training",
                fix="lower training.optimizer.learning_rate, use fp32 or bf16, or check the labels"
                " and numeric features for extreme values",
            )


def fit(
    step: TrainingStep,
    loader: Loader,
    validate: Callable[[int], float | None],
    plan: Plan,
    *,
    tasks: tuple[str, ...],
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> FitResult:
    """Train by `plan` and leave the best epoch's weights in the network, or the last one's.

    Args:
        step: one training step.
        loader: the training rows.
        validate: evaluates the network after an epoch; returns the watched score.
        plan: how long, and when to stop.
        tasks: names in the order of the losses.
        on_epoch: told of every finished epoch.

    Raises:
        UserError: the losses stay non-finite.
    """
    skips = Skips(plan.max_nonfinite, tasks)
    best = _Best(plan)
    epochs: list[Epoch] = []
    stopped: Literal["finished", "early", "interrupted"] = "finished"
    with graceful_interrupt() as asked_to_stop:
        for number in range(plan.epochs):
            step.start_epoch(number)
            trained = _train_epoch(step, loader, plan, number, skips, asked_to_stop)
            step.balancer.epoch_end()
            epoch = replace(trained, score=validate(number))
            epochs.append(epoch)
            best.see(epoch, step.network)
            on_epoch(epoch)
            if asked_to_stop():
                stopped = "interrupted"
            elif best.is_stale(number):
                stopped = "early"
            if stopped != "finished":
                break
    best.restore(step.network)
    if all(epoch.score is None for epoch in epochs):
        log.warning("the metric of early stopping was never defined: the last weights are kept")
    how = {"finished": "finished", "early": "stopped early", "interrupted": "was interrupted"}
    log.info("training %s; best epoch %d of %d", how[stopped], best.number + 1, len(epochs))
    kept = best.number if plan.keep_best else epochs[-1].number
    return FitResult(tuple(epochs), kept, stopped, skips.total)


def _train_epoch(
    step: TrainingStep,
    loader: Loader,
    plan: Plan,
    number: int,
    skips: Skips,
    asked_to_stop: Callable[[], bool],
) -> Epoch:
    device = step.device
    step.network.train()
    sums = torch.zeros(len(skips.tasks), dtype=torch.float64, device=device)
    masses = torch.zeros_like(sums)
    counts = torch.zeros(len(skips.tasks), dtype=torch.int64, device=device)
    skipped_before, rows, factor = skips.total, 0, 1.0
    per_epoch = max(1, loader.num_batches)
    started = time.perf_counter()
    with progress(f"epoch {number + 1}/{plan.epochs}", loader.num_rows) as advance:
        for index, batch in enumerate(loader.epoch(number)):
            factor = schedule_factor(
                number * per_epoch + index,
                total_steps=plan.epochs * per_epoch,
                warmup=plan.warmup,
                kind=plan.schedule,
            )
            step.set_rate(factor)
            result = step(batch.to(device), number * per_epoch + index)
            skips.see(result)
            if result.updated:
                sums += result.losses.double() * result.masses
                masses += result.masses
                counts += result.counts
            rows += batch.num_rows
            advance(batch.num_rows, f"loss {result.losses.mean().item():.4f}")
            if asked_to_stop():
                break
    seconds = time.perf_counter() - started
    means = (sums / torch.where(masses > 0, masses, 1)).tolist()
    return Epoch(
        number=number,
        train_losses=dict(zip(skips.tasks, means, strict=True)),
        labelled=dict(zip(skips.tasks, counts.tolist(), strict=True)),
        seconds=seconds,
        rows=rows,
        skipped=skips.total - skipped_before,
        learning_rate_factor=factor,
        loss_weights=dict(zip(skips.tasks, step.balancer.weights().tolist(), strict=True)),
        transfer=None if step.transfer is None else step.transfer.diagnostics(),
        conflicts=None if step.combining is None else step.combining.diagnostics(),
    )


class _Best:
    """Remembers the weights of the best epoch; of the latest while no score is defined."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.number = 0
        self._score: float | None = None
        self._state: dict[str, Tensor] | None = None

    def see(self, epoch: Epoch, network: torch.nn.Module) -> None:
        if not self._is_better(epoch.score):
            return
        self.number, self._score = epoch.number, epoch.score
        if self._plan.keep_best:
            self._state = {k: v.detach().clone() for k, v in network.state_dict().items()}

    def is_stale(self, number: int) -> bool:
        patience = self._plan.patience
        return patience is not None and self._score is not None and number - self.number >= patience

    def restore(self, network: torch.nn.Module) -> None:
        if self._state is not None:
            network.load_state_dict(self._state)

    def _is_better(self, score: float | None) -> bool:
        if self._score is None:
            return True  # nothing to compare with: the latest weights are kept
        if score is None:
            return False
        gain = score - self._score if self._plan.larger_is_better else self._score - score
        return gain > self._plan.min_delta
