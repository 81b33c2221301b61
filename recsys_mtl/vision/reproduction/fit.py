"""Trains one network of a reproduction, and measures it during training.

Shapes: T tasks, K blocks, M test images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys_mtl.gradients import ConflictLog, GradNorm
from recsys_mtl.model.device import pick_device
from recsys_mtl.vision.reproduction.images import Images, make_network, run_seeds
from recsys_mtl.vision.reproduction.plan import Threshold
from recsys_mtl.vision.reproduction.recipe import Recipe
from recsys_mtl.vision.reproduction.scores import evaluate
from recsys_mtl.vision.training import ImageStep, shared_parts
from recsys_mtl.wiring.combiner import build_combiner

_CONFLICTS = ("steps", "conflict_ratio", "pair_cosine", "length_ratio", "weights", "extra")


@dataclass
class FitResult:
    """A training's numbers.

    Attributes:
        blocks: names of the K blocks of combined gradients.
        parameters: number of those that learn.
        initial_weights: digest of the weights from a file; None where they were drawn.
        epochs: what is stored of each, see `Fit.epoch`.
        predicted: (M, T) class numbers of all test images after the last epoch.
        measurements: (steps so far, (T,) losses) on the fixed test images.
        step_seconds: of every step, without measuring.
    """

    blocks: tuple[str, ...]
    parameters: int
    initial_weights: str | None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    predicted: Tensor = field(default_factory=lambda: torch.empty(0))
    measurements: list[tuple[int, list[float]]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)

    @property
    def step_ms(self) -> float:
        """Median milliseconds of a step."""
        return 1000 * median(self.step_seconds)


class Fit:
    """One training.

    Args:
        recipe: what to train.
        images: of training and test.
        seed: of the data.
        rerun: of the seed.
        only: the task that is trained alone; None: all.
    """

    def __init__(
        self, recipe: Recipe, images: Images, *, seed: int, rerun: int, only: int | None = None
    ) -> None:
        initial, order, draws = run_seeds(seed, rerun)
        self.recipe, self.images, self.only = recipe, images, only
        self.device = pick_device(recipe.training.device)
        network, loaded = make_network(recipe.model, images, seed=initial)
        self.network = network.to(self.device)
        self._order = torch.Generator().manual_seed(order)
        self.step, blocks = self._make_step(draws)
        learning = [p for p in self.network.parameters() if p.requires_grad]
        self.fitted = FitResult(blocks, sum(p.numel() for p in learning), loaded)
        self._measured_rows = _measured_rows(recipe.threshold, len(images.test))

    def run(self, report: Callable[[float], None] = lambda share: None) -> FitResult:
        """Train all epochs; `report` receives the share of steps that are done, after each."""
        for _ in range(self.recipe.training.epochs):
            self.fitted.epochs.append(self.epoch(report))
        return self.fitted

    def _make_step(self, draws: int) -> tuple[ImageStep, tuple[str, ...]]:
        training, method = self.recipe.training, self.recipe.method
        learning = [p for p in self.network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            learning, lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        tasks = len(self.images.train.tasks)
        named = log = None
        if method.combiner.name != "sum":
            parts = shared_parts(self.network)
            named = build_combiner(method.combiner, parts, tasks=tasks, seed=draws)
            named.combiner.to(self.device)
            log = ConflictLog(len(named.blocks), tasks)
        balanced = method.balancing == "gradnorm"
        step = ImageStep(
            self.network,
            optimizer,
            self._weights(),
            combiner=None if named is None else named.combiner,
            gradnorm=GradNorm(tasks).to(self.device) if balanced else None,
            log=log,
        )
        return step, () if named is None else named.blocks

    def _weights(self) -> Tensor:
        """(T,) weights of the losses; zero for tasks that are not trained."""
        weights = torch.tensor(task_weights(self.recipe, self.images), device=self.device)
        if self.only is not None:
            weights[torch.arange(len(weights), device=self.device) != self.only] = 0
        return weights

    def epoch(self, report: Callable[[float], None]) -> dict[str, Any]:
        """Train one epoch.

        Returns:
            By task: the mean training loss, then the scores on all test images; the combiner's
            diagnostics and GradNorm's weights, or None; steps without an update so far; seconds
            of the steps.
        """
        self.network.train()
        training = self.recipe.training
        total = training.epochs * math.ceil(len(self.images.train) / training.batch_size)
        sums = torch.zeros(len(self.images.train.tasks), device=self.device)
        steps = len(self.fitted.step_seconds)
        for rows in self._batches():
            sums += self._train_on(rows)
            self._measure()
            report(len(self.fitted.step_seconds) / total)
        seconds = self.fitted.step_seconds[steps:]
        gradnorm, log = self.step.gradnorm, self.step.log
        conflicts = None if log is None else log.take(skipped=self.step.skipped)
        scores = evaluate(self.network, self.images.test, device=self.device)
        self.fitted.predicted = scores.predicted
        return {
            "train_losses": (sums / len(seconds)).tolist(),
            "losses": scores.losses,
            "accuracy": scores.accuracy,
            "auroc": scores.auroc,
            "conflicts": conflicts and {key: getattr(conflicts, key) for key in _CONFLICTS},
            "gradnorm": None if gradnorm is None else gradnorm.weights.tolist(),
            "skipped": self.step.skipped,
            "seconds": sum(seconds),
        }

    def _batches(self) -> Iterator[Tensor]:
        """Indices in a new order; a single last image is left out, as it has no variance."""
        order = torch.randperm(len(self.images.train), generator=self._order)
        for rows in torch.split(order, self.recipe.training.batch_size):
            if len(rows) > 1:
                yield rows

    def _train_on(self, rows: Tensor) -> Tensor:
        """(T,) losses."""
        started = time.perf_counter()
        images, labels = self.images.train.batch(rows)
        images, labels = images.to(self.device), labels.to(self.device)
        losses = self.step(images, labels, step=len(self.fitted.step_seconds))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.fitted.step_seconds.append(time.perf_counter() - started)
        return losses

    def _measure(self) -> None:
        """Measure on the fixed test images, where this step is due."""
        threshold, steps = self.recipe.threshold, len(self.fitted.step_seconds)
        if threshold is None or steps % threshold.every or steps > threshold.limit:
            return
        scores = evaluate(
            self.network, self.images.test, device=self.device, rows=self._measured_rows
        )
        self.fitted.measurements.append((steps, scores.losses))


def task_weights(recipe: Recipe, images: Images) -> list[float]:
    """Weights of the losses, in the order of the tasks."""
    return [recipe.weights.get(task.name, 1.0) for task in images.train.tasks]


def _measured_rows(threshold: Threshold | None, total: int) -> Tensor | None:
    """Indices of the test images of each measurement, the same for every run."""
    if threshold is None:
        return None
    chosen = np.random.default_rng(0).permutation(total)[: threshold.images]
    return torch.from_numpy(np.sort(chosen))
