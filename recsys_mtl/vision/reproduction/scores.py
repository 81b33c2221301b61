"""A network's numbers on a split: losses, accuracies, areas under the ROC curve.

Shapes: N images of the split, M of them measured, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys_mtl.metrics.binary import prepare_auc
from recsys_mtl.vision.images import ImageSplit
from recsys_mtl.vision.network import UNLABELLED, ImageNetwork

_BATCH = 500


@dataclass(frozen=True)
class ImageScores:
    """Numbers of a split, one a task; NaN where they are undefined.

    Attributes:
        losses: means over labelled images.
        accuracy: shares of labelled images.
        auroc: of yes/no tasks.
        predicted: (M, T) class numbers.
    """

    losses: list[float]
    accuracy: list[float]
    auroc: list[float]
    predicted: Tensor


@torch.no_grad()
def evaluate(
    network: ImageNetwork, split: ImageSplit, *, device: torch.device, rows: Tensor | None = None
) -> ImageScores:
    """Measure a network; its mode does not change.

    Args:
        network: on `device`.
        split: the images.
        device: where.
        rows: (M,) indices; None: all.
    """
    was_training = network.training
    network.eval()
    rows = torch.arange(len(split)) if rows is None else rows
    tasks = len(split.tasks)
    sums, counts = torch.zeros(tasks, dtype=torch.float64), torch.zeros(tasks)
    logits: list[list[Tensor]] = [[] for _ in range(tasks)]
    predictions, labels = [], []
    for part in torch.split(rows, _BATCH):
        images, truth = split.batch(part)
        images, truth = images.to(device), truth.to(device)
        outputs = network(images)
        losses, here = network.task_losses(outputs, truth)
        sums += (losses.double() * here).cpu()
        counts += here.cpu()
        predictions.append(network.predictions(outputs).cpu())
        labels.append(truth.cpu())
        for task, output in enumerate(outputs):
            if output.shape[1] == 1:
                logits[task].append(output.squeeze(1).cpu())
    network.train(was_training)
    predicted, truth = torch.cat(predictions), torch.cat(labels)
    columns = zip(logits, truth.unbind(1), strict=True)
    right = ((predicted == truth) & (truth != UNLABELLED)).sum(0)
    return ImageScores(
        losses=(sums / counts).tolist(),
        accuracy=(right / counts).tolist(),
        auroc=[_area(torch.cat(z), y) if z else float("nan") for z, y in columns],
        predicted=predicted,
    )


def _area(logits: Tensor, labels: Tensor) -> float:
    """Of (M,) logits; NaN where the labelled images have one class only."""
    known = labels != UNLABELLED
    area = prepare_auc(labels[known].numpy(), logits[known].numpy())
    return area(np.ones(int(known.sum())))
