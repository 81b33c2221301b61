"""From YAML, or the name of a preset, to a checked `Plan`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_synth.plan import Plan
from data_synth.relations import impossible, unknown_names
from data_synth.targets import BinaryTask, Complement
from data_synth.views import DEMOGRAPHICS
from recsys_mtl.config import read_text, section_from_yaml, yaml_text
from recsys_mtl.config.explain import Finding
from recsys_mtl.config.load import merged
from recsys_mtl.errors import did_you_mean, wrong

_PRESETS = Path(__file__).parent / "presets"
_TAKEN = (
    *("row_id", "customer_id", "month", "day", "day_number", "weekday"),
    *DEMOGRAPHICS,
    "region",
)


def presets() -> tuple[str, ...]:
    """Names of the built-in plans."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.yaml")))


def load_plan(plan: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a plan.

    Args:
        plan: name of a preset, or a YAML file; the file's `preset` is what it changes.
        overrides: `a.b=c` assignments.

    Raises:
        UserError: lists all problems.
    """
    path, where = Path(plan), str(plan)
    if where in presets():
        path, where = _PRESETS / f"{plan}.yaml", f"preset {plan}"
    elif not path.exists() and not path.suffix:
        raise wrong("no such preset or file", where=where, fix=did_you_mean(where, presets()))
    text = read_text(path)
    base = _base(text, where)
    return section_from_yaml(
        Plan, text, where=where, overrides=overrides, base=base, check=contradictions
    )


def _base(text: str, where: str) -> dict[str, Any]:
    """The preset that a text changes, or nothing; presets may change one another."""
    data = yaml_text.parse(text, where).data
    name = data.get("preset") if isinstance(data, dict) else None
    if name is None:
        return {}
    if name not in presets():
        fix = did_you_mean(str(name), presets())
        raise wrong("unknown preset", where=f"{where}: preset", found=name, fix=fix)
    preset = read_text(_PRESETS / f"{name}.yaml")
    return merged(_base(preset, name), yaml_text.parse(preset, name).data)


def dump_plan(plan: Plan) -> str:
    """The effective plan, every default filled in, as YAML that loads back equal."""
    return yaml_text.dump(plan.model_dump() | {"preset": None})


def plan_hash(plan: Plan) -> str:
    """Sixteen hexadecimal digits, the same for plans that give the same data."""
    text = json.dumps(plan.model_dump() | {"preset": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def contradictions(plan: Plan) -> Iterator[Finding]:
    """Contradictions between valid sections."""
    named = [*_references(plan), *unknown_names(plan), *_cycles(plan)]
    yield from _clashes(plan)
    yield from named
    yield from _too_small(plan)
    if not named:
        yield from impossible(plan)


def _clashes(plan: Plan) -> Iterator[Finding]:
    """Tasks with the name of a column."""
    for name in plan.tasks:
        stem, _, number = name.rpartition("_")
        numbered = number.isdecimal() and stem in ("number", "category", "item", "recent")
        if numbered or name in _TAKEN:
            yield Finding(("tasks", name), "the name of another column", "another name")


def _references(plan: Plan) -> Iterator[Finding]:
    """Names of tasks inside tasks."""
    binary = [name for name, task in plan.tasks.items() if isinstance(task, BinaryTask)]
    for name, task in plan.tasks.items():
        key = "of" if isinstance(task, Complement) else "only_after"
        other = getattr(task, key)
        if other is not None and other not in binary:
            what = "unknown task" if other not in plan.tasks else "not another binary task"
            path = ("tasks", name, key)
            others = [task for task in binary if task != name]
            yield Finding(path, what, "a binary task", other, did_you_mean(other, others))
    if not plan.scored:
        yield Finding(("tasks",), "only complements", "a task to be the complement of")


def _cycles(plan: Plan) -> Iterator[Finding]:
    before = {name: getattr(task, "only_after", None) for name, task in plan.tasks.items()}
    reported: set[str] = set()
    for name in plan.tasks:
        seen = [name]
        while (parent := before.get(seen[-1])) is not None and parent not in seen:
            seen.append(parent)
        if parent == name and name not in reported:
            reported.update(seen)
            path, cycle = ("tasks", name, "only_after"), " <- ".join([*seen, name])
            fix = "one of them must be without only_after"
            yield Finding(path, "a funnel without a start", found=cycle, fix=fix)


def _too_small(plan: Plan) -> Iterator[Finding]:
    """Sizes that do not allow independent effects on every task."""
    tasks = len(plan.scored)
    if plan.score.time > 0 and plan.period.days <= tasks + 1:
        expected = f"more than {tasks + 1}, one more than there are tasks; or score.time: 0"
        yield Finding(("period", "days"), "too few days", expected, str(plan.period.days))
    for index, ids in enumerate(plan.features.items if plan.score.items > 0 else ()):
        if ids < 4 * tasks:
            expected = f"at least {4 * tasks}, four times the tasks; or score.items: 0"
            yield Finding(("features", "items", index), "too few ids", expected, str(ids))
