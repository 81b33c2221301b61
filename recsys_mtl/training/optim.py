"""The optimizer of the dense parameters and the learning-rate schedule both optimizers follow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from inspect import unwrap
from typing import Literal

import torch
from torch import nn


class _AdamW(torch.optim.AdamW):
    """AdamW as it is, without importing torch's compiler, which takes 2 s of CPU time at a start.

    torch wraps these methods, only so that its compiler passes them over.
    """

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    load_state_dict = unwrap(torch.optim.AdamW.load_state_dict)
    state_dict = unwrap(torch.optim.AdamW.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)


def make_optimizer(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    learning_rate: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices only.

    Biases, normalisation gains and the loss-balancing scalars are not decayed: shrinking them
    towards zero is a wrong prior, not a regulariser. They are recognised by name, as the parameters
    of grouped layers have a group dimension and a grouped bias is two-dimensional.

    Args:
        named_parameters: all dense parameters; embedding tables have a separate optimizer.
        learning_rate: peak rate, per step.
        weight_decay: decoupled decay, relative to the rate.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in named_parameters:
        is_matrix = parameter.ndim >= 2 and name.rsplit(".", 1)[-1] == "weight"
        (decayed if is_matrix and "norm" not in name else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return _AdamW([g for g in groups if g["params"]], lr=learning_rate, fused=True)


def schedule_factor(
    step: int, *, total_steps: int, warmup: float, kind: Literal["cosine", "constant"]
) -> float:
    """Factor on the peak learning rate: linear warm-up, then cosine to zero or constant.

    Args:
        step: number of steps taken before this one.
        total_steps: steps of the run; later steps keep the last value.
        warmup: share of `total_steps` in which the rate rises linearly.
        kind: what follows the warm-up.

    Returns:
        A factor in (0, 1].
    """
    warmup_steps = int(warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if kind == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return max(0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))), 1e-3)
