"""Contradictions of tasks behind another one: `through`, and the keys that need it."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.tasks import BinaryConfig, TaskConfig
from recsys_mtl.errors import did_you_mean


def entire_space_contradictions(tasks: Mapping[str, TaskConfig]) -> Iterator[Finding]:
    """Parents that are no binary task or form a cycle, and keys that need or exclude `through`."""
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, task in tasks.items():
        if not isinstance(task, BinaryConfig):
            continue
        if task.through is None:
            yield from _idle(name, task)
        elif task.through not in tasks:
            fix = did_you_mean(task.through, tasks)
            path = ("tasks", name, "through")
            yield Finding(path, "unknown task", found=show(task.through), fix=fix)
        else:
            yield from _behind(name, task, tasks[task.through].kind)
            order.add(name, task.through)
    try:
        order.prepare()
    except graphlib.CycleError as error:
        cycle = error.args[1]
        what, path = "tasks go through each other in a cycle", ("tasks", cycle[1], "through")
        yield Finding(path, what, found=" -> ".join(cycle), fix="drop one of them")


def _behind(name: str, task: BinaryConfig, kind: str) -> Iterator[Finding]:
    """What contradicts a task before of that kind."""
    if kind != "binary":
        what = f"task '{task.through}' is no event that happens or not"
        yield Finding(("tasks", name, "through"), what, "a binary task", kind)
    if task.only_where is not None:
        what = f"with through the rows of '{name}' are those of '{task.through}'"
        fix = f"leave it out, or move it to tasks.{task.through}"
        yield Finding(("tasks", name, "only_where"), what, fix=fix)
    if task.counterfactual.name != "none" and task.loss.name != "bce":
        what = "a counterfactual term is of cross-entropy"
        yield Finding(("tasks", name, "loss"), what, "bce", task.loss.name)


def _idle(name: str, task: BinaryConfig) -> Iterator[Finding]:
    """Keys without effect on a task that no other precedes."""
    idle = {
        "entire_space": not task.entire_space,
        "counterfactual": task.counterfactual.name != "none",
    }
    for key, chosen in idle.items():
        if chosen:
            yield Finding(("tasks", name, key), f"{key} has no effect without through")
