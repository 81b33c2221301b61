"""report.html of a training: what it reached, how sure that is, and where it comes from.

One file without scripts or links to elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys_mtl.config import Config, dump_config
from recsys_mtl.metrics import Metrics, Undefined
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.document import Code, Figure, Section, document
from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import SERIES, Axis, Chart, forest
from recsys_mtl.runs.measured import segment_table
from recsys_mtl.runs.report_figures import (
    Labelled,
    budget_table,
    event_figures,
    tenths_figure,
)
from recsys_mtl.tasks import kind_of
from recsys_mtl.text import as_markdown
from recsys_mtl.training import Epoch
from recsys_mtl.training.evaluate import Scores

Baselines = Mapping[str, Mapping[str, Metrics]]
CONSTANT = "constant"
"""The baseline that is too far off to be drawn."""
_MOST_EXPERTS = 16


def training_report(
    config: Config,
    result: Mapping[str, Any],
    test: Scores,
    others: Baselines,
    epochs: Sequence[Epoch],
) -> str:
    """The HTML of a training's report.

    Args:
        config: the effective one, without credentials.
        result: what result.json holds.
        test: of the test rows.
        others: metrics of the baselines, by name and task.
        epochs: of the training.
    """
    best = result["training"]["best_epoch"]
    sections = [
        Section("Results", _results(result, others)),
        *(_task(config, task, test) for task in result["tasks"] if test.labelled[task]),
        Section("Training", _curves(result["tasks"], epochs, best)),
        *_experts(test),
        *_transfer(epochs, list(result["tasks"])),
        *_segments(result["tasks"]),
        Section("Data", _data(result)),
        Section("Settings", [Code(dump_config(config))]),
    ]
    return document(f"{result['name']}: report of the training", _lead(result, others), sections)


def description(result: Mapping[str, Any], others: Baselines) -> str:
    """The report in short as Markdown: what to conclude, and the main metrics."""
    lines = []
    for name, task in result["tasks"].items():
        metric, entry = _main(task)
        own = f"{number(entry['value'], missing='undefined')}"
        if entry.get("low") is not None:
            own += f" [{entry['low']:.4f}, {entry['high']:.4f}]"
        known = {n: v for n, v in _of_baselines(name, metric, others).items() if v is not None}
        best = max(known, key=lambda n: known[n], default=None)
        beside = "" if best is None else f"; best baseline: {best}, {known[best]:.4f}"
        lines.append(f"- {as_markdown(name)}: {metric} {own}{beside}")
    end = "Charts and all metrics are in `report.html` among the artifacts."
    return "\n\n".join([*map(as_markdown, _lead(result, others)), "\n".join(lines), end])


def _main(task: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and entry of the main metric."""
    name = kind_of(task["kind"]).main
    return name, task["metrics"][name]


def _of_baselines(task: str, metric: str, others: Baselines) -> dict[str, float | None]:
    values = {n: of[task][metric] for n, of in others.items() if metric in of.get(task, {})}
    return {n: None if isinstance(v, Undefined) else float(v) for n, v in values.items()}


def _lead(result: Mapping[str, Any], others: Baselines) -> list[str]:
    """What to conclude."""
    tasks = result["tasks"]
    rows = result["data"]["rows"]["test"]
    first = f"{len(tasks)} tasks, measured on {rows:,} test rows that decided nothing."
    warnings = len(result["data"]["warnings"])
    about = f" The data gave {warnings} warnings: see Data." if warnings else ""
    if not others:
        more = (
            "Nothing stands next to the model here: train --baselines shows what simpler ones do."
        )
        return [first + about, more]
    outcome: dict[str, list[str]] = {"ahead": [], "behind": [], "level": []}
    for name, task in tasks.items():
        metric, entry = _main(task)
        known = [v for v in _of_baselines(name, metric, others).values() if v is not None]
        if known and entry.get("low") is not None:
            outcome[_standing(entry, max(known))].append(name)
    words = [f"{word} on {', '.join(of)}" for word, of in outcome.items() if of]
    text = f"Against the best of its baselines the model is {'; '.join(words)}." if words else ""
    note = "Level: the interval of the model's main metric holds the value of the best baseline."
    return [first + about, text, note] if text else [first + about]


def _standing(entry: Mapping[str, Any], best: float) -> str:
    if entry["low"] > best:
        return "ahead"
    return "behind" if entry["high"] < best else "level"


def _results(result: Mapping[str, Any], others: Baselines) -> list[Any]:
    charts = []
    for name, task in result["tasks"].items():
        metric, entry = _main(task)
        rows = [("model", entry["value"], entry.get("low"), entry.get("high"))]
        beside = _of_baselines(name, metric, others)
        rows += [(n, v, None, None) for n, v in beside.items() if n != CONSTANT]
        text = f"{task['labelled']:,} labelled rows; the line is the model's 95 % interval."
        charts.append(Figure(forest(f"{name}: {metric}", text, rows, label=metric)))
    columns = ("task", "metric", "model", "low", "high", *others)
    lines = []
    for name, task in result["tasks"].items():
        for metric, entry in task["metrics"].items():
            own = (number(entry.get(key)) for key in ("value", "low", "high"))
            beside = _of_baselines(name, metric, others)
            lines.append((name, metric, *own, *(number(beside.get(n)) for n in others)))
    note = "Intervals of 95 % by a bootstrap over the test rows; the baselines have none here."
    return [charts, Table("All metrics", columns, lines, texts=2, note=note)]


def _task(config: Config, task: str, test: Scores) -> Section:
    """Charts of one task's predictions."""
    kind, predicted = kind_of(config.tasks[task].kind), test.predictions[task]
    if predicted.ndim > 1 or not (kind.reliability or kind.ordered):
        text = "Its metrics are in the table above; there is no chart for this kind of task."
        return Section(task, [text])
    rows = Labelled.of(test.labels[task], predicted, test.weights)
    if not kind.reliability:
        return Section(task, [[tenths_figure(task, rows)]])
    figures = event_figures(task, rows, config.evaluation.calibration_bins)
    table = budget_table(task, rows)
    return Section(task, [figures, *([] if table is None else [table])])


def _curves(tasks: Mapping[str, Any], epochs: Sequence[Epoch], best: int) -> list[Any]:
    """Loss of training and validation rows by epoch, a chart a task."""
    figures = []
    for task in tasks:
        train = [(e.number, e.train_losses[task]) for e in epochs if task in e.train_losses]
        losses = [(e.number, e.validation.losses.get(task)) for e in epochs]
        valid = [(number, loss) for number, loss in losses if loss is not None]
        values = [loss for _, loss in (*train, *valid)]
        y = Axis.over(values, "loss")
        x = Axis(-0.5, max(len(epochs) - 0.5, 0.5), "epoch", whole=True)
        chart = Chart(f"{task}: loss", f"The saved weights are those after epoch {best}.", x, y)
        chart.guide((best, y.low), (best, y.high), "best epoch")
        chart.line(train, 0, marked=True)
        chart.line(valid, 1, marked=True)
        figures.append(Figure(chart, ("training", "validation")))
    return [figures]


def _experts(test: Scores) -> list[Section]:
    """Mean weight of each expert, by task."""
    if not test.gates:
        return []
    names = list(dict.fromkeys(expert for use in test.gates.values() for expert in use.mean))
    shown = names[:_MOST_EXPERTS]
    rows = [
        (task, *(number(use.mean.get(expert), ".3f") for expert in shown), f"{use.entropy:.2f}")
        for task, use in test.gates.items()
    ]
    note = "Mean gate weight over the test rows; entropy in nats, 0: one expert alone."
    note += f" {len(names) - len(shown)} more experts are not shown." if names != shown else ""
    table = Table("Who listens to whom", ("task", *shown, "entropy"), rows, note=note)
    return [Section("Experts", [table])]


def _transfer(epochs: Sequence[Epoch], tasks: Sequence[str]) -> list[Section]:
    """Affinity by adaTT, over the epochs and at the end, and what is borrowed."""
    seen = [(epoch.number, epoch.transfer) for epoch in epochs if epoch.transfer is not None]
    if not seen:
        return []
    last = seen[-1][1]
    matrices = [(n, np.asarray(of["affinity"], np.float64).mean(axis=0)) for n, of in seen]
    final = matrices[-1][1]
    rows = [
        (task, *("" if i == j else f"{final[i, j]:+.2f}" for j in range(len(tasks))))
        for i, task in enumerate(tasks)
    ]
    parts: list[Any] = [Table("Affinity of the tasks' gradients", ("", *tasks), rows)]
    pairs = sorted(
        ((i, j) for i in range(len(tasks)) for j in range(i)), key=lambda p: -abs(final[p])
    )[:SERIES]
    if len(seen) > 1:
        values = [float(matrix[pair]) for _, matrix in matrices for pair in pairs]
        x = Axis(seen[0][0] - 0.5, seen[-1][0] + 0.5, "epoch", whole=True)
        chart = Chart("The strongest pairs over the epochs", "1: same direction, −1: opposite.", x,
                      Axis.over([0.0, *values], "affinity"))  # fmt: skip
        for series, pair in enumerate(pairs):
            chart.line([(n, float(m[pair])) for n, m in matrices], series, marked=True)
        parts.append([Figure(chart, [f"{tasks[i]}, {tasks[j]}" for i, j in pairs])])
    if lent := last.get("borrowed"):
        lines = [(t, d, f"{w:.3f}") for t, by in lent.items() for d, w in by.items()]
        parts.append(Table("Who borrows from whom", ("task", "from", "weight"), lines, texts=2))
    return [Section("Transfer", parts)]


def _segments(tasks: Mapping[str, Any]) -> list[Section]:
    table = segment_table(tasks)
    return [] if table is None else [Section("Segments", [table])]


def _data(result: Mapping[str, Any]) -> list[Any]:
    data = result["data"]
    counts = ((name, f"{rows:,}") for name, rows in data["rows"].items())
    parts: list[Any] = [Table("Rows", ("split", "rows"), list(counts))]
    if unknown := {k: v for k, v in data.get("unknown", {}).items() if v}:
        lines = [(name, f"{share:.2%}") for name, share in unknown.items()]
        parts.append(Table("Unknown values of validation rows", ("feature", "share"), lines))
    parts += [f"Warning: {text}" for text in data["warnings"]]
    return [*parts, f"Fingerprint of the data: {data['fingerprint']}; seed {result['seed']}."]
