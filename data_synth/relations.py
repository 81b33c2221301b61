"""From a plan's groups and exceptions to a matrix of correlations, and whether it can exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_synth.plan import Plan
from data_synth.response import Floats, Response
from recsys_mtl.config.explain import Finding
from recsys_mtl.config.yaml_text import KeyPath
from recsys_mtl.errors import did_you_mean

_TOLERANCE = 1e-9
_MARGIN = 1e-3  # of the eigenvalues of a proposed matrix: rounding leaves it possible
_CLOSE = 1e-6
_SHOWN = 5e-4


@dataclass(frozen=True)
class ScoreGeometry:
    """The scores' correlations and where they come from.

    Attributes:
        tasks: the scored tasks, in the plan's order.
        relation: (T, T) correlation of the true scores.
        directions: (T, T) correlation of the directions of the state that the scores read.
    """

    tasks: tuple[str, ...]
    relation: Floats
    directions: Floats


def relation_matrix(plan: Plan) -> Floats:
    """(T, T) planned correlation of the scores of `plan.scored`; names must be known."""
    row = {name: index for index, name in enumerate(plan.scored)}
    groups = {name: [row[t] for t in g.tasks] for name, g in plan.relations.groups.items()}
    matrix = np.full((len(row), len(row)), plan.relations.between)
    for name, group in plan.relations.groups.items():
        matrix[np.ix_(groups[name], groups[name])] = group.within
    for exception in plan.relations.exceptions:
        a, b = (groups.get(name) or [row[name]] for name in exception.between)
        matrix[np.ix_(a, b)] = exception.value
        matrix[np.ix_(b, a)] = exception.value
    np.fill_diagonal(matrix, 1.0)
    return matrix


def geometry(plan: Plan) -> ScoreGeometry:
    """The geometry of a checked plan."""
    relation = relation_matrix(plan)
    return ScoreGeometry(plan.scored, relation, Response(plan.score.one_sided).direction(relation))


def unknown_names(plan: Plan) -> Iterator[Finding]:
    """Names in `relations` that are no scored task or group, and tasks in two groups."""
    seen: dict[str, str] = {}
    for name in set(plan.tasks) & set(plan.relations.groups):
        path: KeyPath = ("relations", "groups", name)
        yield Finding(path, "a group with the name of a task", "another name")
    for name, group in plan.relations.groups.items():
        for position, task in enumerate(group.tasks):
            path = ("relations", "groups", name, "tasks", position)
            if (problem := _no_task(plan, task, path, plan.scored)) is not None:
                yield problem
            elif task in seen:
                yield Finding(path, f"'{task}' is in group '{seen[task]}' too", "one group a task")
            seen.setdefault(task, name)
    known = (*plan.scored, *plan.relations.groups)
    for index, exception in enumerate(plan.relations.exceptions):
        for position, task in enumerate(exception.between):
            path = ("relations", "exceptions", index, "between", position)
            if (problem := _no_task(plan, task, path, known)) is not None:
                yield problem


def _no_task(plan: Plan, name: str, path: KeyPath, known: tuple[str, ...]) -> Finding | None:
    if name in known:
        return None
    if name in plan.tasks:
        fix = f"relate the task that '{name}' is the complement of"
        return Finding(path, "a complement has no relations of its own", found=name, fix=fix)
    return Finding(path, "unknown task", found=name, fix=did_you_mean(name, known))


def impossible(plan: Plan) -> Iterator[Finding]:
    """The finding that no scores can have the planned correlations, with the nearest possible."""
    response = Response(plan.score.one_sided)
    relation = relation_matrix(plan)
    if is_possible(relation, response):
        return
    nearest = nearest_possible(relation, response)
    rest = plan.relations.model_copy(update={"exceptions": []})
    bare = relation_matrix(plan.model_copy(update={"relations": rest}))
    changed = [
        f"{{between: [{a}, {b}], value: {float(nearest[i, j])}}}"
        for i, a in enumerate(plan.scored)
        for j, b in enumerate(plan.scored)
        if i < j and not nearest[i, j] == relation[i, j] == bare[i, j]
    ]
    low = min(np.linalg.eigvalsh(relation)[0], np.linalg.eigvalsh(response.direction(relation))[0])
    actual = f"least eigenvalue {low:.3f}"
    if (least := relation.min()) < response.floor - _TOLERANCE:
        actual += f", least value {least:g} where one_sided {plan.score.one_sided:g} allows "
        actual += f"{response.floor:.3f}"
    yield Finding(
        ("relations",),
        "no scores can have these correlations",
        "a positive semi-definite matrix, of the scores and of their directions",
        actual,
        "the nearest possible plan has relations.exceptions: ["
        + ", ".join(changed)
        + "]"
        + ("; or lower score.one_sided" if np.linalg.eigvalsh(relation)[0] >= -_TOLERANCE else ""),
    )


def is_possible(relation: Floats, response: Response) -> bool:
    """Whether scores with these correlations exist, given the hinge."""
    if relation.min() < response.floor - _TOLERANCE:
        return False
    directions = response.direction(relation)
    return bool(min(np.linalg.eigvalsh(m)[0] for m in (relation, directions)) >= -_TOLERANCE)


def nearest_possible(relation: Floats, response: Response) -> Floats:
    """The possible matrix whose directions are nearest in Frobenius norm.

    Its entries have three digits, or are those of `relation` where rounding would give the same;
    the least eigenvalue of the directions is as far from 0 as that takes.
    """
    directions, least = response.direction(relation), 2 * _MARGIN
    while True:
        near = response.correlation(nearest_correlation(directions, least=least)).round(3)
        near = np.where(np.abs(near - relation) <= _SHOWN, relation, near)
        if is_possible(near, response):
            return near
        least *= 2


def nearest_correlation(matrix: Floats, *, least: float = 0.0, steps: int = 1000) -> Floats:
    """Nearest correlation matrix whose eigenvalues are `least` or more.

    Alternating projections with Dykstra's correction: Higham 2002, "Computing the nearest
    correlation matrix", IMA J. Numer. Anal. 22.
    """
    current, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(steps):
        shifted = current - correction
        values, vectors = np.linalg.eigh(shifted)
        semidefinite = (vectors * np.maximum(values, least)) @ vectors.T
        correction = semidefinite - shifted
        current = semidefinite.copy()
        np.fill_diagonal(current, 1.0)
        if np.abs(current - semidefinite).max() < _CLOSE:
            break
    return np.clip((current + current.T) / 2, -1.0, 1.0)


def square_root(matrix: Floats) -> Floats:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root
