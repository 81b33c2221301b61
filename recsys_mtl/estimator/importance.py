"""Permutation importance: what a model loses on each task when a feature's values are shuffled.

Breiman, Random Forests, Machine Learning 2001, section 10; for any model Fisher et al., All models
are wrong, but many are useful, JMLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.estimator.plots import intervals_of
from recsys_mtl.metrics.differences import difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Score = Callable[[pl.DataFrame], dict[str, float]]
"""By task the main metric of a model on labelled rows; NaN where it is undefined."""


@dataclass(frozen=True)
class Importance:
    """By task and feature the drop of the task's main metric.

    Attributes:
        drops: (tasks, features, repeats) the metric minus that with shuffled values.
        tasks: names.
        features: names, in the order of the config.
        rows: how many rows were shuffled.
    """

    drops: NDArray[np.floating]
    tasks: Sequence[str]
    features: Sequence[str]
    rows: int

    def to_frame(self) -> pl.DataFrame:
        """A row a task and feature, the most important first: task, feature, drop, low, high.

        `low` and `high` are the 95 % interval by Student's t over the repeats: it tells shuffles
        apart, not samples of rows.
        """
        rows: list[tuple[str, str, float, float, float]] = []
        for task, of_task in zip(self.tasks, self.drops, strict=True):
            drops = [difference(np.asarray(values, np.float64)) for values in of_task]
            order = np.argsort([-drop.mean for drop in drops], kind="stable")
            rows += [
                (task, self.features[f], drops[f].mean, drops[f].low, drops[f].high) for f in order
            ]
        columns = ("task", "feature", "drop", "low", "high")
        return pl.DataFrame(rows, schema=columns, orient="row")

    def plot(self, task: str | None = None, *, most: int = 20) -> Figure:
        """The most important features of a task (default: the first), with their intervals."""
        task = self.tasks[0] if task is None else task
        frame = self.to_frame().filter(pl.col("task") == task).head(most)
        entries = list(frame.select("feature", "drop", "low", "high").iter_rows())
        title = f"{task}: drop of the metric when the feature is shuffled"
        return intervals_of(entries, title=title, zero=True)

    def _repr_html_(self) -> str:
        return str(self.to_frame()._repr_html_())

    def __str__(self) -> str:
        return str(self.to_frame())


def importance(
    rows: pl.DataFrame,
    score: Score,
    features: Sequence[tuple[str, Sequence[str]]],
    *,
    repeats: int,
    seed: int,
) -> Importance:
    """Permutation importance of each feature on all tasks.

    Args:
        rows: labelled raw rows.
        score: measures a model on them.
        features: name and raw columns of each; columns of one feature are shuffled together.
        repeats: shuffles of a feature.
        seed: of the shuffles; each feature has the same ones.
    """
    whole = score(rows)
    tasks, draw = [*whole], np.random.default_rng(seed)
    orders = [draw.permutation(rows.height) for _ in range(repeats)]
    drops = np.empty((len(tasks), len(features), repeats))
    for f, (_, columns) in enumerate(features):
        for r, order in enumerate(orders):
            shuffled = score(rows.with_columns(rows[name][order] for name in columns))
            drops[:, f, r] = [whole[task] - shuffled[task] for task in tasks]
    return Importance(drops, tasks, [name for name, _ in features], rows.height)
