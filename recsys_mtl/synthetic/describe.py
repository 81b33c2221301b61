"""One page about a generated data set, for the terminal and the browser."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_synth import Truth
from data_synth.profile import Profile, profile
from data_synth.targets import Target
from recsys_mtl.reports.page import Page, Picture, Table
from recsys_mtl.reports.report import Report
from recsys_mtl.synthetic.describe_document import describe_document, halves
from recsys_mtl.tracking.heatmap import draw_heatmap

_CONSTANT, _ORACLE, _LINE = "#999999", "#4477aa", "#cccccc"


def describe(truth: Truth) -> Report:
    """The page and the numbers of a data set that `recsys-mtl synthesize` wrote."""
    counted = profile(truth)
    numbers = {
        "name": truth.content["name"],
        "rows": counted.rows,
        "tasks": {name: _summary(truth, counted, name) for name in truth.targets},
        "columns": {name: vars(column) for name, column in counted.columns.items()},
        "relation": truth.content["relation"],
    }
    page = _page(truth, counted)
    return Report(page, numbers, describe_document(truth, counted, page))


def _summary(truth: Truth, counted: Profile, task: str) -> dict[str, Any]:
    entry = truth.content["tasks"][task]
    return {
        "kind": truth.targets[task].kind,
        "labelled": entry["labelled"],
        "mean": counted.means.get(task),
        "classes": len(counted.shares[task]) if task in counted.shares else None,
        "constant": entry.get("constant"),
        "oracle": entry.get("oracle"),
        "observable": entry["observable"],
    }


def _page(truth: Truth, counted: Profile) -> Page:
    content = truth.content
    head = (
        f"{counted.rows:,} rows, {counted.months[0]} to {counted.months[-1]}, "
        f"{len(counted.columns)} columns and {len(truth.targets)} labels, seed {content['seed']}."
    )
    picture = Picture("At a glance", "describe", _picture(truth, counted))
    tables = _tasks(truth, counted), _relations(content["relation"]), _columns(counted)
    return Page(f"Synthetic data set {content['name']}", [head, picture, *tables])


def _tasks(truth: Truth, counted: Profile) -> Table:
    rows = []
    for name, target in truth.targets.items():
        entry = truth.content["tasks"][name]
        metric = target.metric
        reach = [entry.get(bound, {}).get(metric) for bound in ("constant", "oracle")]
        rows.append(
            [
                name,
                target.kind,
                f"{entry['labelled'] / counted.rows:.1%}",
                _rate(counted, name, target),
                metric,
                *("" if value is None else f"{value:.4f}" for value in reach),
                f"{entry['observable']:.2f}",
            ]
        )
    note = (
        "constant, oracle: expected metric without any column, and with the true scores, "
        "over these rows. observable: at most this share of a score's variance is determined by "
        "the columns."
    )
    columns = ("task", "kind", "labelled", "label", "metric", "constant", "oracle", "observable")
    return Table("Tasks", columns, rows, texts=2, note=note)


def _rate(counted: Profile, task: str, target: Target) -> str:
    """A short description of the labels."""
    mean, shares = counted.means.get(task, 0.0), counted.shares.get(task, [])
    return "none" if np.isnan(mean) else target.in_words(mean, shares)


def _relations(relation: dict[str, Any]) -> Table:
    """Planned correlations below the diagonal, measured ones above."""
    tasks, matrix = relation["tasks"], halves(relation)
    rows = [
        [f"{index + 1} {name}", *("" if np.isnan(v) else f"{100 * v:z.0f}" for v in values)]
        for index, (name, values) in enumerate(zip(tasks, matrix, strict=True))
    ]
    columns = ["task", *(str(index + 1) for index in range(len(tasks)))]
    note = (
        "Correlation of true scores in hundredths: planned below the diagonal, measured on these "
        "rows above."
    )
    return Table("Relations", columns, rows, note=note, dense=True)


def _columns(counted: Profile) -> Table:
    rows = [
        [
            name,
            column.type,
            f"{column.missing:.1%}" if column.missing else "",
            "" if column.distinct is None else f"{column.distinct:,}",
            "" if column.mean is None else f"{column.mean:,.4g}",
        ]
        for name, column in counted.columns.items()
    ]
    note = (
        "distinct is approximate beyond a million rows; the mean of a list column is that of its "
        "lengths."
    )
    return Table("Columns", ("column", "type", "missing", "distinct", "mean"), rows, 2, note)


def _picture(truth: Truth, counted: Profile) -> Figure:
    """Relations on the left; reachable metrics, missing values and labels by month on the right."""
    relation = truth.content["relation"]
    tasks = relation["tasks"]
    figure = Figure(figsize=(15, 3 + 0.42 * max(len(tasks), 16)), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.3, 1), squeeze=False)[0]
    axes = left.subplots()
    image = draw_heatmap(
        axes, halves(relation), rows=tasks, columns=tasks, low=-1.0, palette="RdBu"
    )
    axes.set_title("relations: planned below the diagonal, measured above")
    left.colorbar(image, ax=axes, shrink=0.6)
    reach, missing, months = right.subplots(3, 1)
    _draw_reach(reach, truth)
    _draw_missing(missing, counted)
    _draw_months(months, counted)
    return figure


def _draw_reach(axes: Axes, truth: Truth) -> None:
    names: list[str] = []
    for name, entry in truth.content["tasks"].items():
        metric = truth.targets[name].metric
        low, high = (entry.get(bound, {}).get(metric) for bound in ("constant", "oracle"))
        if low is None or high is None:
            continue
        axes.plot([low, high], [len(names)] * 2, color=_LINE, linewidth=1.5)
        axes.scatter([low, high], [len(names)] * 2, color=(_CONSTANT, _ORACLE), zorder=3)
        names.append(f"{name} ({metric})")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_title("from the constant (grey) to the oracle (blue)")


def _draw_missing(axes: Axes, counted: Profile) -> None:
    shares = {name: column.missing for name, column in counted.columns.items() if column.missing}
    axes.bar(list(shares), list(shares.values()), color=_ORACLE)
    axes.tick_params(axis="x", labelsize=7, rotation=60)
    axes.set_title("missing values, share of the rows")


def _draw_months(axes: Axes, counted: Profile) -> None:
    for name, means in counted.by_month.items():
        moved = (np.array(means) - counted.means[name]) / (counted.spreads[name] or 1.0)
        axes.plot(counted.months, moved, marker=".", label=name)
    axes.tick_params(axis="x", labelsize=8, rotation=30)
    axes.legend(fontsize=7, ncols=2)
    axes.set_title("mean label by month, in standard deviations from the mean")
