"""The gate's rules on the evidence: each failure in a line of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recsys_mtl.lifecycle.evidence import Evidence, TaskEvidence
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.metrics.bootstrap import Interval

FIRST = "first champion"


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes the champion.

    Attributes:
        failures: a line for each rule that it breaks; none: it passes.
        reason: one line for all of them, or for why it passes.
    """

    failures: tuple[str, ...]
    reason: str

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.failures


def decide(gate: Gate, evidence: Evidence) -> Decision:
    """Apply every rule."""
    failures = [f"{task}: {why}" for task, why in evidence.apart.items()]
    for name, task in evidence.tasks.items():
        failures += [f"{name}: {why}" for why in task_failures(gate, name, task)]
    failures += [
        f"{n}: {why}" for n, task in evidence.segments.items() if (why := _lost(gate, task))
    ]
    gated = [task for task in evidence.tasks.values() if task.gated]
    if not gated:
        needed = f"{gate.min_rows} labelled rows, a binary one {gate.min_class} of each class"
        needed += f", in {gate.min_groups} groups" if evidence.clustered else ""
        failures.append(f"no task can be judged: each needs {needed}")
    elif not evidence.mean.low > gate.mean:
        shown = with_interval(evidence.mean)
        failures.append(f"mean gain {shown} is not surely above {gate.mean:g}")
    if failures:
        return Decision(tuple(failures), "; ".join(failures))
    shown = with_interval(evidence.mean)
    return Decision((), f"mean gain {shown} over {len(gated)} tasks, and no task fails")


def task_failures(gate: Gate, name: str, task: TaskEvidence) -> Iterator[str]:
    """The rules that a task breaks."""
    if task.broken:
        yield task.broken
        return
    if task.ungated:
        return
    worst, gain = gate.worst_of(name), task.gain
    words = "may lose" if gate.strict else "surely loses"
    if not (gain.low if gate.strict else gain.high) >= -worst:
        yield f"{words} more than {worst:g} of {task.measure}: {with_interval(gain)}"
    limit, growth = gate.calibration_of(name), task.growth
    words = "may grow" if gate.strict else "surely grows"
    if task.calibration and not (growth.high if gate.strict else growth.low) <= limit:
        yield f"calibration error {words} by more than {limit:g}: {with_interval(growth)}"


def _lost(gate: Gate, task: TaskEvidence) -> str:
    """The rule that a task breaks in a segment; empty: none."""
    limit = gate.segments
    if limit is None or task.ungated or task.gain.high >= -limit:
        return ""
    return f"surely loses more than {limit:g} of {task.measure}: {with_interval(task.gain)}"


def with_interval(gain: Interval) -> str:
    """A difference as messages show it."""
    return f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
