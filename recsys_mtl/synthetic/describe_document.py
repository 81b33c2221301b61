"""describe.html: a generated data set at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_synth import Truth
from data_synth.profile import Profile
from recsys_mtl.reports.axis import Axis
from recsys_mtl.reports.charts import bars, heat_map, lines
from recsys_mtl.reports.document import Figure, Folded, Part, Section, document
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.reports.svg import SERIES, Chart

_MOST_COLUMNS = 25


def describe_document(truth: Truth, counted: Profile, page: Page) -> str:
    """The HTML of the page about a data set.

    Args:
        truth: of the data set.
        counted: its rows.
        page: for a terminal, with tables of tasks, relations and columns.
    """
    tasks, relations, columns = (part for part in page.parts if isinstance(part, Table))
    figures = [*_reach(truth), *_missing(counted)]
    parts: dict[str, Sequence[Part]] = {
        "Tasks": [tasks, *([figures] if figures else [])],
        "Relations": [_relations(truth), Folded("The relations as a table", [relations])],
        "Labels by month": [list(_months(counted))] if counted.by_month else [],
        "Columns": [columns],
    }
    sections = [Section(title, of) for title, of in parts.items() if of]
    texts = [part for part in page.parts if isinstance(part, str)]
    return document(page.title, [*texts, *_closest(truth)], sections)


def halves(relation: dict[str, Any]) -> NDArray[np.float64]:
    """(T, T) planned correlations below the diagonal, measured ones above."""
    planned, measured = (np.array(relation[name], float) for name in ("planned", "measured"))
    matrix: NDArray[np.float64] = np.tril(planned, -1) + np.triu(measured, 1)
    np.fill_diagonal(matrix, np.nan)
    return matrix


def _closest(truth: Truth) -> list[str]:
    """The pairs of tasks that are planned to be the most alike and the most opposed."""
    relation = truth.content["relation"]
    tasks, planned = relation["tasks"], np.array(relation["planned"], float)
    pairs = [(float(planned[i, j]), i, j) for i in range(len(tasks)) for j in range(i)]
    if not pairs:
        return []
    texts = []
    for word, (value, i, j) in (("alike", max(pairs)), ("opposed", min(pairs))):
        if (value > 0) == (word == "alike") and value:
            names = f"{tasks[j]} and {tasks[i]}"
            texts.append(f"The most {word} by plan: {names}, {value:+.2f}.")
    return [" ".join(texts)] if texts else []


def _relations(truth: Truth) -> Figure:
    relation = truth.content["relation"]
    tasks = relation["tasks"]
    text = (
        "Correlation of the true scores: planned below the diagonal, measured on these rows above."
    )
    values = halves(relation).tolist()
    return heat_map("Relations of the tasks", text, values, rows=tasks, columns=tasks)


def _reach(truth: Truth) -> Iterator[Figure]:
    """From a constant's metric to an oracle's, a chart a metric."""
    ranges: dict[str, list[tuple[str, float, float]]] = {}
    for name, entry in truth.content["tasks"].items():
        metric = truth.targets[name].metric
        low, high = ((entry.get(bound) or {}).get(metric) for bound in ("constant", "oracle"))
        if low is not None and high is not None:
            ranges.setdefault(metric, []).append((name, low, high))
    for metric, rows in ranges.items():
        names = [name for name, *_ in rows]
        text = (
            "From a constant prediction to the true scores: no model can be expected to do better."
        )
        axis = Axis.over([end for _, *ends in rows for end in ends], metric)
        chart = Chart(f"Reachable {metric}", text, axis, Axis.of(names), height=54 + 24 * len(rows))
        for row, (name, low, high) in enumerate(rows):
            chart.span((low, row), (high, row), SERIES - 1)
            chart.marks([(low, row)], 1, text=f"{name}, constant: {low:.4f}")
            chart.marks([(high, row)], 0, text=f"{name}, oracle: {high:.4f}")
        yield Figure(chart, ("oracle", "constant"))


def _missing(counted: Profile) -> list[Figure]:
    shares = {name: column.missing for name, column in counted.columns.items() if column.missing}
    if not shares:
        return []
    largest = sorted(shares, key=lambda name: -shares[name])[:_MOST_COLUMNS]
    rows = [(name, shares[name], None, None) for name in largest]
    text = f"{len(shares)} of {len(counted.columns)} columns lack values."
    return [bars("Missing values", text, rows, label="share of the rows", percent=True)]


def _months(counted: Profile) -> Iterator[Figure]:
    """How the mean labels move, as many tasks a chart as look different."""
    tasks = list(counted.by_month)
    for start in range(0, len(tasks), SERIES):
        series = {}
        for name in tasks[start : start + SERIES]:
            means = np.array(counted.by_month[name], float)
            moved = (means - counted.means[name]) / (counted.spreads[name] or 1.0)
            series[name] = list(enumerate(moved.tolist()))
        number = f", {start // SERIES + 1}" if len(tasks) > SERIES else ""
        text = "In standard deviations of the label from its mean over all months."
        yield lines(f"Mean label by month{number}", text, series, x="month",
                    y="standard deviations", names=counted.months)  # fmt: skip
