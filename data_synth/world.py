"""Everything about a plan that is drawn once: directions, items, seasons, fitted labels.

K  width of the state      T  scored tasks      V  views
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from data_synth.items import Items
from data_synth.plan import Plan
from data_synth.relations import ScoreGeometry, geometry, square_root
from data_synth.response import Floats, Response
from data_synth.seasons import movements
from data_synth.state import Floats32
from data_synth.targets import BinaryTarget, Complement, Target
from data_synth.targets.base import Array, Rng
from data_synth.views import Views
from data_synth.zipf import Ints, Zipf

_CALIBRATION_ROWS = 2**19
_WORLD, _CALIBRATION, BLOCKS = range(3)  # streams of random numbers
_LEAST_WIDTH = 6


@dataclass(frozen=True)
class World:
    """A plan with all that is drawn once.

    Attributes:
        plan: the plan.
        geometry: the scores' correlations and directions.
        reading: (T, K) unit directions of the state that the scores read.
        prototypes: (personas, K).
        items: one per item column.
        movements: (days, T) of the scores.
        views: what the columns show of the state.
        targets: by task, complements included.
    """

    plan: Plan
    geometry: ScoreGeometry
    reading: Floats32
    prototypes: Floats32
    items: tuple[Items, ...]
    movements: Floats32
    views: Views
    targets: dict[str, Target]

    @classmethod
    def of(cls, plan: Plan) -> World:
        """Draw the world of a checked plan; the same plan gives the same world."""
        with threadpool_limits(1):  # the last digits of sums depend on the number of threads
            return cls._drawn(plan)

    @classmethod
    def _drawn(cls, plan: Plan) -> World:
        rng = generator(plan.seed, _WORLD)
        shape = geometry(plan)
        width = max(len(shape.tasks) + plan.customers.nuisance, _LEAST_WIDTH)
        reading = np.zeros((len(shape.tasks), width))
        reading[:, : len(shape.tasks)] = square_root(shape.directions)
        items = tuple(
            Items.draw(zipf, shape.relation, rng)
            if plan.score.items > 0
            else Items.idle(zipf, len(shape.tasks))
            for zipf in (Zipf(ids, plan.features.zipf) for ids in plan.features.items)
        )
        world = cls(
            plan=plan,
            geometry=shape,
            reading=reading.astype(np.float32),
            prototypes=rng.standard_normal((plan.customers.personas, width), dtype=np.float32),
            items=items,
            movements=_moved(plan, shape.relation).astype(np.float32),
            views=Views.draw(plan, width, rng),
            targets={},
        )
        world.targets.update(_targets(plan, world._typical_scores(), rng))
        return world

    def scores(self, u: Floats32, ranks: list[Ints], day: Array) -> Floats32:
        """(R, T) scores: the response to the state, the items' effects, the day's movement.

        Args:
            u: (R, K) state.
            ranks: (R,) ranks of the ids, for each item column.
            day: (R,) days since the start.
        """
        return self._compose(u @ self.reading.T, ranks, day)

    def _compose(self, t: Floats32, ranks: list[Ints], day: Array) -> Floats32:
        state, items, time = self.shares
        scores = Response(self.plan.score.one_sided)(t)
        scores *= np.float32(np.sqrt(state))
        for column, used in zip(self.items, ranks, strict=True):
            scores += np.float32(np.sqrt(items / len(self.items))) * column.act(used)
        scores += np.float32(np.sqrt(time)) * self.movements[day]
        return scores

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of a score's variance: state, items, time. They sum to 1."""
        items = self.plan.score.items if self.items else 0.0
        time = self.plan.score.time
        return 1.0 - items - time, items, time

    def observable(self) -> Floats:
        """(T,) share of each score's variance that the columns determine.

        An upper bound, as missing values and the rounding of categories are ignored. Numeric
        columns without nulls reach it, except for what the region reveals about the persona:
        nothing next to many columns, 0.03 next to the other demographics alone.
        """
        known = self.views.known(self.reading.astype(np.float64))
        state, items, time = self.shares
        return state * Response(self.plan.score.one_sided).correlation(known) + items + time

    def _typical_scores(self) -> Floats32:
        """Scores of many rows, to fit labels to."""
        rng = generator(self.plan.seed, _CALIBRATION)
        rows = _CALIBRATION_ROWS
        t = rng.standard_normal((rows, len(self.reading)), dtype=np.float32)
        t = t @ square_root(self.geometry.directions).astype(np.float32)
        ranks = [column.zipf.ranks(rng.random(rows)) for column in self.items]
        return self._compose(t, ranks, rng.integers(self.plan.period.days, size=rows))


def _moved(plan: Plan, relation: Floats) -> Floats:
    if plan.score.time > 0:
        return movements(relation, plan.period.days)
    return np.zeros((plan.period.days, len(relation)))


def generator(seed: int, *stream: int) -> Rng:
    """A separate random generator for each stream."""
    return np.random.Generator(np.random.SFC64([seed, *stream]))


def _targets(plan: Plan, scores: Floats32, rng: Rng) -> dict[str, Target]:
    """Fit every task's label to the scores of the rows where it is defined."""
    column = {name: index for index, name in enumerate(plan.scored)}
    weights: dict[str, Array] = {}
    targets: dict[str, Target] = {}

    def defined(name: str) -> Array:
        """(R,) probability that the label is defined."""
        parent = getattr(plan.tasks[name], "only_after", None)
        if parent is None:
            return np.ones(len(scores))
        if name not in weights:
            target = fitted(parent)
            linear = target.linear(scores[:, column[parent]])
            weights[name] = defined(parent) * target.predict(linear)
        return weights[name]

    def fitted(name: str) -> Target:
        if name not in targets:
            targets[name] = fit(name)
        return targets[name]

    def fit(name: str) -> Target:
        task = plan.tasks[name]
        if isinstance(task, Complement):
            opposed = fitted(task.of)
            assert isinstance(opposed, BinaryTarget)
            return opposed.opposite()
        grid = task.target.grid
        counts = np.bincount(
            grid.nearest(scores[:, column[name]]), defined(name), minlength=len(grid.points)
        )
        return task.fit(counts, rng)

    return {name: fitted(name) for name in plan.tasks}
