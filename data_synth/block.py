"""One block of rows, a pure function of the world and the block's number.

Complete blocks are always drawn, in processes of one thread, however many rows are requested. The
values depend neither on chunks nor on processes nor on the number of rows.

    R  rows of a block      T  scored tasks
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_synth.columns import categories, demographics, lists, numbers
from data_synth.labels import as_arrow, draw_labels
from data_synth.state import Floats32, RowStates, draw_customers, draw_state
from data_synth.targets import Complement
from data_synth.world import BLOCKS, World, generator
from data_synth.zipf import Ints

ROWS = 2**14
_STATE, _COLUMNS, _LABELS = range(3)


@dataclass(frozen=True)
class RowBlock:
    """The rows of one block.

    Attributes:
        rows: row_id, customer_id, day, the columns and the labels.
        truth: row_id and each task's true linear predictor.
        state: the hidden state.
        persona: (R,) of the row's customer.
        scores: (R, T).
        labelled: by task (R,), where the label is not null.
    """

    rows: pa.Table
    truth: pa.Table
    state: RowStates
    persona: NDArray[np.int64]
    scores: Floats32
    labelled: dict[str, NDArray[np.bool_]]


def draw_block(world: World, number: int) -> RowBlock:
    """Rows `number` * ROWS and the following ROWS - 1."""
    plan = world.plan
    rng = generator(plan.seed, BLOCKS, number, _STATE)
    count = max(1, round(ROWS / plan.customers.rows_each))
    customers = draw_customers(rng, number * count, count, world.prototypes)
    state = draw_state(rng, plan, ROWS, customers)
    ranks = [column.zipf.ranks(rng.random(ROWS)) for column in world.items]
    scores = world.scores(state.u, ranks, state.day)
    persona = customers.persona
    columns = _time(world, state)
    columns |= _columns(world, number, state, ranks, customers.z, persona)
    labels = draw_labels(world, scores, generator(plan.seed, BLOCKS, number, _LABELS))
    row_id = pa.array(np.arange(number * ROWS, (number + 1) * ROWS, dtype=np.int64))
    ids = {"row_id": row_id, "customer_id": pa.array(customers.first + state.customer)}
    return RowBlock(
        rows=pa.table(ids | columns | as_arrow(world, labels)),
        truth=pa.table({"row_id": row_id} | _linear(world, scores)),
        state=state,
        persona=persona[state.customer],
        scores=scores,
        labelled={name: ~nulls for name, (_, nulls) in labels.items()},
    )


def _time(world: World, state: RowStates) -> dict[str, pa.Array]:
    day = np.datetime64(world.plan.period.start) + state.day
    weekday = (day.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    return {
        "day": pa.array(day),
        "day_number": pa.array(state.day.astype(np.int16)),
        "weekday": pa.array(weekday.astype(np.int8)),
    }


def _columns(
    world: World,
    number: int,
    state: RowStates,
    ranks: list[Ints],
    z: Floats32,
    persona: NDArray[np.int64],
) -> dict[str, pa.Array]:
    features = world.plan.features
    rng = generator(world.plan.seed, BLOCKS, number, _COLUMNS)
    columns: dict[str, pa.Array] = {}
    if features.demographics:
        seen = world.views.of_customers(z, rng)
        drawn = demographics(seen, persona, features.missing, rng)
        columns |= drawn.of_rows(state.customer)
    views = world.views.of_rows(state.x, rng)
    first, last = features.numeric, features.numeric + len(features.categorical)
    time = (state.day + 0.5) / world.plan.period.days - 0.5
    columns |= numbers(views[:, :first], time, features, rng)
    columns |= categories(views[:, first:last], features)
    for index, (items, used) in enumerate(zip(world.items, ranks, strict=True)):
        columns[f"item_{index + 1:02}"] = pa.array(items.zipf.names(used))
    columns |= lists(views[:, last:], features, rng)
    return columns


def _linear(world: World, scores: Floats32) -> dict[str, pa.Array]:
    """Each task's true linear predictor, float32."""
    column = {name: index for index, name in enumerate(world.plan.scored)}
    linear = {}
    for name, task in world.plan.tasks.items():
        own = task.of if isinstance(task, Complement) else name
        values = world.targets[name].linear(np.ascontiguousarray(scores[:, column[own]]))
        linear[name] = pa.array(values.astype(np.float32))
    return linear
