"""The labels of a block's rows, from their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_synth.columns.numeric import Mask
from data_synth.state import Floats32
from data_synth.targets import Complement
from data_synth.targets.base import Rng
from data_synth.world import World

Label = tuple[NDArray[Any], Mask]  # values, and where they are null


def draw_labels(world: World, scores: Floats32, rng: Rng) -> dict[str, Label]:
    """Values and nulls of every task's label, in the plan's order.

    A label behind a funnel is null wherever the label before it is not 1, nulls included. A
    complement is 1 minus the drawn label of its task, whatever that one's nulls.

    Args:
        world: the plan's world.
        scores: (R, T).
        rng: of everything drawn.
    """
    column = {name: index for index, name in enumerate(world.plan.scored)}
    drawn: dict[str, Label] = {}

    def draw(name: str) -> Label:
        if name in drawn:
            return drawn[name]
        task = world.plan.tasks[name]
        if isinstance(task, Complement):
            opposed, _ = draw(task.of)
            values = (1 - opposed).astype(np.int8)
            undefined = _undefined(world, task.of)
        else:
            undefined = _undefined(world, name)
            target = world.targets[name]
            mine = np.ascontiguousarray(scores[:, column[name]])
            values = np.zeros(len(mine), dtype=target.dtype)
            values[~undefined] = target.draw(mine[~undefined], rng)
        nulls = undefined
        if task.labelled < 1.0:
            nulls = undefined | (rng.random(len(values), dtype=np.float32) >= task.labelled)
        drawn[name] = values, nulls
        return drawn[name]

    def _undefined(world: World, name: str) -> Mask:
        parent = getattr(world.plan.tasks[name], "only_after", None)
        if parent is None:
            return np.zeros(len(scores), dtype=bool)
        values, nulls = draw(parent)
        undefined: Mask = nulls | (values != 1)
        return undefined

    for name in world.plan.tasks:
        draw(name)
    return {name: drawn[name] for name in world.plan.tasks}


def as_arrow(world: World, labels: dict[str, Label]) -> dict[str, pa.Array]:
    """Label columns: 0 and 1, numbers, item ids, and class names as dictionaries."""
    return {
        name: world.targets[name].as_arrow(pa.array(values, mask=nulls))
        for name, (values, nulls) in labels.items()
    }
