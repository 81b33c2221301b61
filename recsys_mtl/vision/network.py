"""A network for classification tasks on images: one backbone, one linear head a task.

Shapes: B images, C channels, H × W pixels, F features, T tasks; outputs are the logits of a task.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.vision.backbones.base import Backbone
from recsys_mtl.vision.images import ImageTask

UNLABELLED = -1


class Heads(nn.ModuleList):
    """One linear layer a task, in float32 under autocast too."""

    def forward(self, features: Tensor) -> list[Tensor]:
        """(B, F) to (B, outputs) float32 of each task."""
        with torch.autocast(features.device.type, enabled=False):
            return [head(features.float()) for head in self]


class ImageNetwork(nn.Module):
    """The backbone that all tasks share, and their heads.

    Args:
        backbone: from images to features.
        tasks: T tasks.
    """

    def __init__(self, backbone: Backbone, tasks: Sequence[ImageTask]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.backbone = backbone
        self.heads = Heads(nn.Linear(backbone.out_features, task.outputs) for task in tasks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) to (B, outputs) float32 logits of each task."""
        logits: list[Tensor] = self.heads(self.backbone(images))
        return logits

    def shared_parameters(self) -> list[tuple[str, str, nn.Parameter]]:
        """(name in the backbone, group, parameter) of those that learn, from the image on."""
        return [
            (name, self.backbone.group_of(name), parameter)
            for name, parameter in self.backbone.named_parameters()
            if parameter.requires_grad
        ]

    def task_losses(self, logits: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross entropy of each task, binary for a yes/no attribute.

        Args:
            logits: (B, outputs) of each task.
            labels: (B, T) int64 class numbers, −1 unlabelled.

        Returns:
            (T,) float32 means over the labelled images, on the graph, zero without any;
            (T,) int64 numbers of labelled images.
        """
        counts = (labels != UNLABELLED).sum(0)
        sums = torch.stack([_loss_sum(z, y) for z, y in zip(logits, labels.unbind(1), strict=True)])
        return sums / counts.clamp(min=1), counts

    def predictions(self, logits: Sequence[Tensor]) -> Tensor:
        """(B, outputs) logits of each task to (B, T) int64 class numbers."""
        return torch.stack([_most_likely(z) for z in logits], dim=1)


def _loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, outputs) logits and (B,) labels to the sum of the labelled images' losses."""
    logits = logits.float()
    if logits.shape[1] > 1:
        return F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    rows = F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float(), reduction="none")
    return torch.where(labels == UNLABELLED, 0, rows).sum()


def _most_likely(logits: Tensor) -> Tensor:
    """(B, outputs) to (B,) int64; one logit is yes above zero."""
    return logits.argmax(1) if logits.shape[1] > 1 else (logits.squeeze(1) > 0).long()
