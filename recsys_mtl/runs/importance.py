"""Permutation importance: what a model loses on each task when a feature's values are shuffled.

Breiman, Random Forests, Machine Learning 2001, section 10; for any model Fisher et al., All models
are wrong, but many are useful, JMLR 2019.

The rows are cut into parts, and values are shuffled within each: the drops of the parts are
independent samples, and their spread has both what the shuffle and what the choice of rows adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recsys_mtl import parallel
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.loader import ChangedLoader, Loader, MemoryLoader
from recsys_mtl.features.feature import Feature
from recsys_mtl.metrics.differences import Difference, difference
from recsys_mtl.metrics.weighing import Ints
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.reports.intervals_figure import intervals_of
from recsys_mtl.reports.typed import html_of
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Evaluator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPEATS = 10
MOST_ROWS = 2_000
_BATCH = 4_096
_LEAST_ROWS = 100
_ALWAYS, _SHARE = 20_000, 0.06
_MOST_OUTPUTS = 20_000_000


@dataclass(frozen=True)
class Importance:
    """By task and feature the drop of the task's main metric.

    Attributes:
        drops: (tasks, features, parts) the metric minus that with shuffled values.
        tasks: names.
        features: names, in the order of the config; those that read a column together are one.
        rows: how many rows were shuffled.
    """

    drops: NDArray[np.floating]
    tasks: Sequence[str]
    features: Sequence[str]
    rows: int

    def of(self, task: str) -> list[tuple[str, Difference]]:
        """Features and their drops for a task, the most important first."""
        drops = self.drops[list(self.tasks).index(task)]
        pairs = [
            (name, difference(np.asarray(values, np.float64)))
            for name, values in zip(self.features, drops, strict=True)
        ]
        order = np.argsort([-drop.mean for _, drop in pairs], kind="stable")
        return [pairs[index] for index in order]

    def to_frame(self) -> pl.DataFrame:
        """A row a task and feature, the most important first: task, feature, drop, low, high.

        `low` and `high` are the 95 % interval by Student's t over the parts of the rows.
        """
        rows = [
            (task, name, drop.mean, drop.low, drop.high)
            for task in self.tasks
            for name, drop in self.of(task)
        ]
        columns = {"task": pl.String, "feature": pl.String} | dict.fromkeys(
            ("drop", "low", "high"), pl.Float64
        )
        return pl.DataFrame(rows, schema=columns, orient="row")

    def numbers(self) -> dict[str, Any]:
        """For result.json: rows, parts, and by task its features, the most important first."""
        keys = ("feature", "drop", "low", "high")
        return {
            "rows": self.rows,
            "parts": self.drops.shape[2],
            "tasks": {
                task: [
                    dict(zip(keys, (name, *map(_known, (d.mean, d.low, d.high))), strict=True))
                    for name, d in self.of(task)
                ]
                for task in self.tasks
            },
        }

    def plot(self, task: str | None = None, *, most: int = 20) -> Figure:
        """The most important features of a task (default: the first), with their intervals."""
        task = self.tasks[0] if task is None else task
        entries = [(name, d.mean, _known(d.low), _known(d.high)) for name, d in self.of(task)]
        title = f"{task}: drop of the metric when the feature is shuffled"
        return intervals_of(entries[:most], title=title, zero=True)

    def _repr_html_(self) -> str:
        return html_of(self.to_frame())

    def __str__(self) -> str:
        return str(self.to_frame())


def importance(
    evaluator: Evaluator,
    network: MultiTaskNetwork,
    rows: Batch,
    features: Sequence[Feature],
    *,
    repeats: int,
    seed: int,
) -> Importance:
    """Permutation importance of each feature on all tasks; no global random numbers are drawn.

    Args:
        evaluator: measures the network.
        network: trained.
        rows: labelled, on the CPU.
        features: of the network; those that read a column together are shuffled together.
        repeats: parts of the rows, each with a shuffle of its own; fewer of few rows.
        seed: of parts and shuffles; each feature has the same ones.
    """
    order = np.random.default_rng(seed).permutation(rows.num_rows)
    parts = np.array_split(order, max(1, min(repeats, rows.num_rows // 2)))
    source = np.empty_like(order)
    for part in parts:
        source[part] = np.roll(part, 1)  # no row keeps its value
    shuffled = rows.select(torch.from_numpy(source))
    before = _measured(evaluator, network, rows, parts)
    groups = _groups(features)
    drops = [
        before - _measured(evaluator, network, rows.mixed(names, shuffled), parts)
        for names in groups.values()
    ]
    tasks = [task.name for task in evaluator.tasks]
    return Importance(np.stack(drops, axis=1), tasks, [*groups], rows.num_rows)


class SampledLoader(ChangedLoader):
    """Lets an evaluation's batches pass and keeps a few of their rows, to measure importance on.

    The rows are not read again. Of several processes each keeps some of its own.

    Args:
        loader: of the rows, in their order.
        evaluator: measures the network.
        features: of the network.
        trained_rows: rows of all epochs; see `affordable`.
        seed: of all draws.
    """

    def __init__(
        self,
        loader: Loader,
        evaluator: Evaluator,
        features: Sequence[Feature],
        *,
        trained_rows: int,
        seed: int,
    ) -> None:
        super().__init__(loader)
        self._evaluator, self._features, self._seed = evaluator, features, seed
        shares = [loader.shares(batch) for batch in range(loader.num_batches)]
        count = sum(of[parallel.rank() if len(of) > 1 else 0] for of in shares)
        widest = max(task.items or task.outputs for task in evaluator.tasks)
        limit = affordable(count, len(_groups(features)), trained_rows, widest)
        chosen = np.random.default_rng(seed).choice(count, limit, replace=False)
        self._chosen, self._passed = np.sort(chosen), 0
        self._kept: list[Batch] = []

    def _changed(self, batch: Batch) -> Batch:
        start, self._passed = self._passed, self._passed + batch.num_rows
        inside = self._chosen[(self._chosen >= start) & (self._chosen < self._passed)] - start
        if len(inside):
            self._kept.append(batch.select(torch.from_numpy(inside)))
        return batch

    def importance(self, network: MultiTaskNetwork) -> Importance | None:
        """`importance` on the rows that were kept; None where too few could be afforded.

        Args:
            network: trained.
        """
        if not self._kept:
            return None
        rows = concat(self._kept)
        return importance(
            self._evaluator, network, rows, self._features, repeats=REPEATS, seed=self._seed
        )


def affordable(rows: int, features: int, trained_rows: int, widest: int) -> int:
    """How many of the rows to draw; 0: too few can be afforded.

    A row costs about a third of a training step's. So many rows are drawn that all features
    together cost a fiftieth of the training; of a short one somewhat more.

    Args:
        rows: that there are.
        features: that are shuffled.
        trained_rows: rows of all epochs.
        widest: most numbers that are predicted of a row.
    """
    if not features or rows < 2 * REPEATS:
        return 0
    budget = max(_ALWAYS, int(_SHARE * trained_rows)) // features
    limit = min(MOST_ROWS, rows, budget, _MOST_OUTPUTS // widest)
    return limit if limit >= min(_LEAST_ROWS, rows) else 0


def _groups(features: Sequence[Feature]) -> dict[str, list[str]]:
    """Names of the features that read a column together, by what they are called."""
    groups: list[tuple[set[str], list[Feature]]] = []
    for feature in features:
        columns, own = set(feature.columns), [feature]
        for others, members in [g for g in groups if g[0] & columns]:
            groups.remove((others, members))
            columns, own = columns | others, [*members, *own]
        groups.append((columns, own))
    return {
        " + ".join([f.name for f in own if not f.derived] or [own[0].name]): [f.name for f in own]
        for _, own in groups
    }


def _measured(
    evaluator: Evaluator, network: MultiTaskNetwork, rows: Batch, parts: Sequence[Ints]
) -> NDArray[np.float64]:
    """(tasks, parts) main metrics; NaN where one is undefined."""
    loader = MemoryLoader(rows, batch_size=_BATCH, shuffle=False, seed=0)
    labels, predictions = evaluator.predicted(network, loader)
    weights = rows.weights.numpy().astype(np.float64)
    numbers = np.full((len(evaluator.tasks), len(parts)), np.nan)
    for t, task in enumerate(evaluator.tasks):
        for p, part in enumerate(parts):
            known = np.sort(part[~np.isnan(labels[task.name][part]) & (weights[part] > 0)])
            if len(known):
                own = (of[task.name][known].astype(np.float64) for of in (labels, predictions))
                score = kind_of(task.kind).score(*([of] for of in own))
                numbers[t, p] = score(weights[known])[0]
    return numbers


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
