"""Steps of several ways in turns, in one process: medians, and ratios of the same round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from recsys_mtl.data.batch import Batch
from recsys_mtl.training.step import TrainingStep

Way = tuple[TrainingStep, Sequence[Batch]]


def take_turns(
    ways: Mapping[str, Way],
    rounds: int,
    reference: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[str, float]]:
    """The median seconds of a step, and the median over rounds of its ratio to the reference's.

    Args:
        ways: step and batches by name; a turn is all batches.
        rounds: after one that warms up.
        reference: name of a way.
        clock: seconds.
    """
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):  # the first one warms up
        for name, (step, batches) in ways.items():
            begun = clock()
            for batch in batches:
                assert step(batch).updated
            if turn:
                seen[name].append((clock() - begun) / len(batches))
    first = seen[reference]
    return {
        name: {
            "seconds": statistics.median(values),
            "ratio": statistics.median(a / b for a, b in zip(values, first, strict=True)),
        }
        for name, values in seen.items()
    }
