"""A decision as a page for people and as numbers for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from recsys_mtl.lifecycle.compare import ModelComparison
from recsys_mtl.lifecycle.decide import FIRST, task_failures, with_interval
from recsys_mtl.lifecycle.evidence import Evidence, TaskEvidence
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.metrics import Undefined, to_json
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.tracking.registry import Version


def make_page(
    gate: Gate,
    versions: Mapping[str, Version | None],
    comparison: ModelComparison,
    *,
    dry_run: bool,
) -> Page:
    """The complete report.

    Args:
        gate: what the decision follows.
        versions: "champion" (None where there was none) and "challenger".
        comparison: what was measured, and the decision.
        dry_run: whether the registry was left as it was.
    """
    challenger = versions["challenger"]
    assert challenger is not None
    decision = comparison.decision
    word = "passes" if decision.passed else "rejected"
    head = [f"Version {challenger.number} of {challenger.name}: {word}, {decision.reason}."]
    if dry_run:
        head.append("A dry run: nothing in the registry was changed.")
    parts: list[str | Table] = [*head, _versions(versions)]
    if comparison.evidence is not None:
        parts += [_tasks(gate, comparison.evidence), *_segments(comparison.evidence), _rules(gate)]
    if comparison.count:
        parts.append(f"Measured on {comparison.rows}: {comparison.count:,} rows.")
    parts += comparison.notes
    if comparison.metrics:
        parts.append(_metrics(comparison))
    return Page(f"Promotion of {challenger.name}", parts)


def numbers(
    gate: Gate,
    versions: Mapping[str, Version | None],
    comparison: ModelComparison,
    *,
    dry_run: bool,
) -> dict[str, Any]:
    """All that result.json and report.json hold in addition to the envelope."""
    decision = comparison.decision
    return {
        "dry_run": dry_run,
        "decision": {
            "passed": decision.passed,
            "first": decision.reason == FIRST,
            "reason": decision.reason,
            "failures": decision.failures,
        },
        **{role: version and _version(version) for role, version in versions.items()},
        "rows": {
            "told": comparison.rows,
            "count": comparison.count,
            "fingerprint": comparison.fingerprint,
        },
        "gate": gate.model_dump(),
        "evidence": comparison.evidence and asdict(comparison.evidence),
        "metrics": {
            role: {task: to_json(metrics) for task, metrics in by_task.items()}
            for role, by_task in comparison.metrics.items()
        },
        "notes": comparison.notes,
    }


def _version(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "number": version.number,
        "run_id": version.run_id,
        "source": version.source,
        "created": version.created.isoformat(),
        "data_fingerprint": version.tags.get("data_fingerprint"),
        "bundle_sha256": version.tags.get("bundle_sha256"),
    }


def _versions(versions: Mapping[str, Version | None]) -> Table:
    rows = []
    for role, version in versions.items():
        cells = ["none", "", "", ""]
        if version is not None:
            created = version.created.isoformat(timespec="minutes")
            data = version.tags.get("data_fingerprint", "")[:12]
            cells = [str(version.number), version.run_id or "", created, data]
        rows.append([role, *cells])
    columns = ("role", "version", "run", "registered", "data")
    return Table("Versions", columns, rows, texts=5, printed=False)


def _tasks(gate: Gate, evidence: Evidence) -> Table:
    rows = []
    for name, task in evidence.tasks.items():
        rows.append(
            [
                name,
                task.measure,
                _verdict(gate, name, task),
                f"{task.rows:,}",
                *(number(score) for score in task.scores),
                with_interval(task.gain) if task.gain.low == task.gain.low else "",
                " → ".join(number(error) for error in task.calibration or ()),
            ]
        )
    rows += [[name, "", "cannot be compared", *[""] * 5] for name in evidence.apart]
    reasons = [f"{name}: {why}" for name, why in evidence.apart.items()]
    for name, task in evidence.tasks.items():
        reasons += [f"{name}: {why}" for why in task_failures(gate, name, task)]
        reasons += [f"{name} is not judged: {task.ungated}"] if task.ungated else []
    note = "Gain: the challenger's score less the champion's, with its 95 % interval by the paired "
    note += f"bootstrap over {'groups' if evidence.clustered else 'rows'}. "
    note += "Calibration: errors of champion and challenger."
    columns = ("task", "score", "verdict", "labels", "champion", "challenger", "gain [95 %]",
               "calibration")  # fmt: skip
    note += "".join(f" {reason}." for reason in reasons)
    return Table("Tasks", columns, rows, texts=3, note=note, dense=True)


def _segments(evidence: Evidence) -> Iterator[Table]:
    rows = [
        [name, task.measure, f"{task.rows:,}", *map(number, task.scores), with_interval(task.gain)]
        for name, task in evidence.segments.items()
        if not task.ungated
    ]
    if rows:
        columns = ("segment", "score", "labels", "champion", "challenger", "gain [95 %]")
        yield Table("Segments", columns, rows, texts=2)


def _verdict(gate: Gate, name: str, task: TaskEvidence) -> str:
    if any(task_failures(gate, name, task)):
        return "fails"
    return "not judged" if task.ungated else "passes"


def _rules(gate: Gate) -> Table:
    rows = [
        [key, str(value), field.description or ""]
        for (key, field), value in zip(
            Gate.model_fields.items(), gate.model_dump().values(), strict=True
        )
        if key != "tasks"
    ]
    for task in gate.tasks:
        own = f"worst {gate.worst_of(task):g}, calibration {gate.calibration_of(task):g}"
        rows.append([f"tasks.{task}", own, ""])
    return Table("Gate", ("key", "value", "meaning"), rows, texts=3, printed=False)


def _metrics(comparison: ModelComparison) -> Table:
    rows = []
    for task, metrics in comparison.metrics["challenger"].items():
        for index, name in enumerate(metrics):
            values = (by_task.get(task, {}).get(name) for by_task in comparison.metrics.values())
            cells = [number(None if isinstance(value, Undefined) else value) for value in values]
            rows.append(["" if index else task, name, *cells])
    columns = ("task", "metric", *comparison.metrics)
    return Table("All metrics on all rows", columns, rows, texts=2, printed=False)
