"""One unit of a reproduction: a training, and its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsys_mtl.memory import peak_memory_mb, reset_peak_memory
from recsys_mtl.model.device import pick_device
from recsys_mtl.study.shares import report_share
from recsys_mtl.vision.reproduction.fit import Fit, FitResult, task_weights
from recsys_mtl.vision.reproduction.images import Images, open_images
from recsys_mtl.vision.reproduction.recipe import Recipe, RecipeUnit

_SHOWN = 12


@contextmanager
def recipe_trainer(
    root: Path | None, batch: Sequence[RecipeUnit], out: Path, *, threads: int | None
) -> Iterator[Callable[[RecipeUnit], dict[str, Any]]]:
    """A trainer that opens each unit's images; those of the last one are kept.

    Args:
        root: folder of the data.
        batch: the units.
        out: the reproduction's folder.
        threads: of the CPU.

    Raises:
        UserError: the data or the weights are missing or damaged.
    """
    del batch, out
    if threads is not None:
        torch.set_num_threads(threads)
    yield lambda unit: train_unit(unit, open_images(unit.recipe.dataset, root, seed=unit.seed))


def train_unit(unit: RecipeUnit, images: Images) -> dict[str, Any]:
    """Train a unit and give its numbers, NaN where one is undefined."""
    recipe = unit.recipe
    started = time.perf_counter()
    reset_peak_memory()
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    tasks = images.train.tasks
    alone: Sequence[int | None] = range(len(tasks)) if recipe.method.alone else (None,)
    fits: list[FitResult] = []

    def report(share: float) -> None:
        report_share(unit, (len(fits) + share) / len(alone))

    for only in alone:
        fit = Fit(recipe, images, seed=unit.seed, rerun=unit.rerun, only=only)
        fits.append(fit.run(report))
    return {
        "settings": recipe.settings(),
        "source": images.source,
        "images": [len(images.train), len(images.test), *images.train.shape],
        "identity": images.identity,
        "initial_weights": fits[0].initial_weights,
        "tasks": [task.name for task in tasks],
        "weights": task_weights(recipe, images),
        "device": _device(recipe),
        "threads": torch.get_num_threads(),
        "parameters": sum(fit.parameters for fit in fits),
        "blocks": list(fits[0].blocks),
        "epochs": _epochs(fits),
        "looks": _measurements(fits),
        "steps": len(fits[0].step_seconds),
        "step_ms": sum(fit.step_ms for fit in fits),
        "peak_memory_mb": peak_memory_mb(),
        "peak_gpu_mb": torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
        "seconds": time.perf_counter() - started,
        "shown": _shown(fits, images),
    }


def _epochs(fits: Sequence[FitResult]) -> list[dict[str, Any]]:
    """Each epoch's numbers; of networks trained alone, each its own task's."""
    merged = []
    for epochs in zip(*(fit.epochs for fit in fits), strict=True):
        by_task = ("train_losses", "losses", "accuracy", "auroc")
        own = {key: _own([epoch[key] for epoch in epochs]) for key in by_task}
        sums = {key: sum(epoch[key] for epoch in epochs) for key in ("skipped", "seconds")}
        merged.append(epochs[0] | own | sums)
    return merged


def _measurements(fits: Sequence[FitResult]) -> list[tuple[int, list[float]]]:
    """(steps, losses by task)."""
    together = zip(*(fit.measurements for fit in fits), strict=True)
    return [(measured[0][0], _own([losses for _, losses in measured])) for measured in together]


def _own(lists: Sequence[list[float]]) -> list[float]:
    """One list of all tasks, or of each task's own network its own number."""
    if len(lists) == 1:
        return lists[0]
    return [values[task] for task, values in enumerate(lists)]


def _shown(fits: Sequence[FitResult], images: Images) -> dict[str, Any]:
    """A few random test images with the network's predictions."""
    rows = np.random.default_rng(1).permutation(len(images.test))[:_SHOWN]
    _, labels = images.test.batch(torch.from_numpy(rows))
    predicted = [fit.predicted[rows].T.tolist() for fit in fits]  # by task
    return {"rows": rows.tolist(), "true": labels.T.tolist(), "predicted": _own(predicted)}


def _device(recipe: Recipe) -> str:
    """The device's name for reports."""
    device = pick_device(recipe.training.device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
