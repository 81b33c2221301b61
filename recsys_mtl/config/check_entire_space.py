"""Contradictions of tasks behind another one: `through`, and the keys that need it."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.errors import did_you_mean


def entire_space_contradictions(tasks: Mapping[str, TaskConfig]) -> Iterator[Finding]:
    """Parents that are no binary task or form a cycle, and keys that need or exclude `through`."""
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, task in tasks.items():
        if task.parent is None:
            yield from _idle(name, task)
        elif task.parent not in tasks:
            fix = did_you_mean(task.parent, tasks)
            path = ("tasks", name, "through")
            yield Finding(path, "unknown task", found=show(task.parent), fix=fix)
        else:
            yield from _behind(name, task, tasks[task.parent])
            order.add(name, task.parent)
    try:
        order.prepare()
    except graphlib.CycleError as error:
        cycle = error.args[1]
        what, path = "tasks go through each other in a cycle", ("tasks", cycle[1], "through")
        yield Finding(path, what, found=" -> ".join(cycle), fix="drop one of them")


def _behind(name: str, task: TaskConfig, before: TaskConfig) -> Iterator[Finding]:
    """What contradicts the task before."""
    if not before.is_event:
        what = f"task '{task.parent}' is no event that happens or not"
        yield Finding(("tasks", name, "through"), what, "a yes/no label", before.kind)
    if task.only_where is not None:
        what = f"with through the rows of '{name}' are those of '{task.parent}'"
        fix = f"leave it out, or move it to tasks.{task.parent}"
        yield Finding(("tasks", name, "only_where"), what, fix=fix)
    if task.term.name != "none" and task.loss_name != "bce":
        what = "a counterfactual term is of cross-entropy"
        yield Finding(("tasks", name, "loss"), what, "bce", task.loss_name)


def _idle(name: str, task: TaskConfig) -> Iterator[Finding]:
    """Keys without effect on a task that no other precedes."""
    idle = {"entire_space": not task.on_all_rows, "counterfactual": task.term.name != "none"}
    for key, chosen in idle.items():
        if chosen:
            yield Finding(("tasks", name, key), f"{key} has no effect without through")
