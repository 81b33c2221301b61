"""The prior belief about related tasks, and how long it counts.

Shapes: T tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Group = tuple[Sequence[str], float]
"""The tasks of a group and the strength between them."""


def group_prior(
    tasks: Sequence[str], groups: Mapping[str, Group], inter_strength: float = 0.3
) -> Tensor:
    """The group prior P of published adaTT.

    Args:
        tasks: T names.
        groups: group name -> (its tasks, their strength to one another). A task may be in no
            group: then it has `inter_strength` to all.
        inter_strength: between tasks that share no group.

    Returns:
        (T, T) float32, diagonal 0, rows sum to 1; a row without any strength stays 0, as that of
        a single task does.

    Raises:
        ValueError: a group names an unknown task or one of another group, or a strength is
            negative.
    """
    _check(tasks, groups, inter_strength)
    prior = torch.full((len(tasks), len(tasks)), float(inter_strength))
    for members, strength in groups.values():
        inside = torch.tensor([task in members for task in tasks], dtype=torch.bool)
        prior[inside.unsqueeze(1) & inside] = strength
    prior.fill_diagonal_(0.0)
    total = prior.sum(1, keepdim=True)
    return prior / torch.where(total > 0, total, torch.ones_like(total))


def _check(tasks: Sequence[str], groups: Mapping[str, Group], inter_strength: float) -> None:
    if inter_strength < 0:
        raise ValueError(f"inter_strength: expected 0 or more, found {inter_strength}")
    seen: dict[str, str] = {}
    for name, (members, strength) in groups.items():
        if strength < 0:
            raise ValueError(f"groups.{name}: expected a strength of 0 or more, found {strength}")
        for task in members:
            if task not in tasks:
                raise ValueError(
                    f"groups.{name}: expected tasks of {', '.join(tasks)}; found {task}"
                )
            if seen.setdefault(task, name) != name:
                raise ValueError(
                    f"groups.{name}: expected tasks of no other group; {task} is in {seen[task]}"
                )


def prior_blend(
    epoch: int, *, warmup: int, freeze: int, start: float = 0.5, end: float = 0.1
) -> float:
    """The prior's share r: linear from `start` at epoch `warmup` to `end` at epoch `freeze`.

    Before and after, it stays what it is at those two. `freeze` must be above `warmup`.
    """
    done = min(max((epoch - warmup) / (freeze - warmup), 0.0), 1.0)
    return start + (end - start) * done
