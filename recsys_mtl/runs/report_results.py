"""What a training reached, for its report: in sentences, next to the baselines, by segment.

Everything is read from what result.json holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys_mtl.reports.cells import number, with_interval
from recsys_mtl.reports.document import Figure, Folded, Part
from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import forest
from recsys_mtl.runs.measured import segment_table
from recsys_mtl.tasks import kind_of
from recsys_mtl.text import as_markdown

Entry = Mapping[str, Any]
_MOST_LINES = 40
CONSTANT = "constant"
"""The baseline that is too far off to be drawn."""
_METHOD = "95 % intervals by a bootstrap over the test rows; all models on the same resamples."


def lead(result: Mapping[str, Any]) -> list[str]:
    """What to conclude."""
    tasks = result["tasks"]
    rows = result["data"]["rows"]["test"]
    first = f"{len(tasks)} tasks, measured on {rows:,} test rows that decided nothing."
    warnings = len(result["data"]["warnings"])
    about = f" The data gave {warnings} warnings: see Data." if warnings else ""
    if not result["baselines"]:
        more = (
            "Nothing stands next to the model here: train --baselines shows what simpler ones do."
        )
        return [first + about, more]
    outcome: dict[str, list[str]] = {"ahead": [], "behind": [], "level": []}
    for name, task in tasks.items():
        metric, entry = _main(task)
        if (best := _best(result, name, metric)) is not None:
            word = _standing(entry, best[1])
            outcome.get(word, []).append(name)
    words = [f"{word} on {', '.join(of)}" for word, of in outcome.items() if of]
    text = f"Against the best of its baselines the model is {'; '.join(words)}." if words else ""
    note = "Level: the interval of the difference in the main metric holds 0."
    return [first + about, text, note] if text else [first + about]


def description(result: Mapping[str, Any]) -> str:
    """The report in short as Markdown: what to conclude, and the main metrics."""
    lines = []
    for name, task in result["tasks"].items():
        metric, entry = _main(task)
        own = f"{number(entry['value'], missing='undefined')}"
        if entry.get("low") is not None:
            own += f" [{entry['low']:.4f}, {entry['high']:.4f}]"
        best = _best(result, name, metric)
        beside = "" if best is None else f"; best baseline: {best[0]}, {best[1]['value']:.4f}"
        lines.append(f"- {as_markdown(name)}: {metric} {own}{beside}")
    end = "Charts and all metrics are in `report.html` among the artifacts."
    return "\n\n".join([*map(as_markdown, lead(result)), "\n".join(lines), end])


def results(result: Mapping[str, Any]) -> list[Part]:
    """A forest plot a task, the differences to the baselines, and all metrics."""
    figures, lines = [], []
    for name, task in result["tasks"].items():
        metric, entry = _main(task)
        rows = [("model", *_numbers(entry))]
        for other, of in _of_baselines(result, name, metric).items():
            rows += [(other, *_numbers(of))] if other != CONSTANT else []
            if (apart := of.get("difference")) is not None:
                shown = with_interval(apart["value"], apart["low"], apart["high"], 4)
                lines.append((name, other, metric, shown, _standing(entry, of)))
        text = f"{task['labelled']:,} labelled rows. {_METHOD}"
        figures.append(Figure(forest(f"{name}: {metric}", text, rows, label=metric)))
    parts: list[Part] = [figures]
    if lines:
        note = "Ahead, behind: the interval of the difference does not hold 0. " + _METHOD
        columns = ("task", "baseline", "metric", "model minus baseline", "the model is")
        parts.append(Table("Model minus baseline", columns, lines, texts=3, note=note))
    table = _all_metrics(result)
    many = len(table.rows) > _MOST_LINES
    return [*parts, Folded("All metrics as a table", [table]) if many else table]


def segments(result: Mapping[str, Any]) -> list[Part]:
    """The metrics by segment; empty without any."""
    table = segment_table(result["tasks"])
    return [] if table is None else [table]


def _all_metrics(result: Mapping[str, Any]) -> Table:
    others = result["baselines"]
    lines = []
    for name, task in result["tasks"].items():
        for metric, entry in task["metrics"].items():
            own = (number(entry.get(key)) for key in ("value", "low", "high"))
            beside = _of_baselines(result, name, metric)
            lines.append((name, metric, *own, *(number(beside.get(n, {}).get("value"))
                                                for n in others)))  # fmt: skip
    columns = ("task", "metric", "model", "low", "high", *others)
    return Table("All metrics", columns, lines, texts=2)


def _main(task: Mapping[str, Any]) -> tuple[str, Entry]:
    """Name and entry of the main metric."""
    name = kind_of(task["kind"]).main
    return name, task["metrics"][name]


def _of_baselines(result: Mapping[str, Any], task: str, metric: str) -> dict[str, Entry]:
    """Entries of those that have the metric."""
    by_name = {name: of.get(task, {}).get(metric) for name, of in result["baselines"].items()}
    return {name: entry for name, entry in by_name.items() if entry is not None}


def _best(result: Mapping[str, Any], task: str, metric: str) -> tuple[str, Entry] | None:
    """Name and entry of the baseline with the highest value."""
    entries = _of_baselines(result, task, metric)
    known = {name: entry for name, entry in entries.items() if entry["value"] is not None}
    return max(known.items(), key=lambda item: item[1]["value"], default=None)


def _standing(entry: Entry, other: Entry) -> str:
    """The model next to a baseline; empty where no interval is known."""
    apart = other.get("difference")
    if apart is None:
        if entry.get("low") is None:
            return ""
        apart = {end: entry[end] - other["value"] for end in ("low", "high")}
    if apart["low"] > 0:
        return "ahead"
    return "behind" if apart["high"] < 0 else "level"


def _numbers(entry: Entry) -> tuple[float | None, float | None, float | None]:
    return entry["value"], entry.get("low"), entry.get("high")
