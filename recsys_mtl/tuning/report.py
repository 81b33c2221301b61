"""report.html of a tuning: how the search went, what mattered, what to do with it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from recsys_mtl.reports.axis import Axis
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.charts import Spot, bars, scatter
from recsys_mtl.reports.document import Figure, Section, document
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.reports.svg import Chart, Point
from recsys_mtl.tuning.objective import Objective
from recsys_mtl.tuning.result import TuningResult
from recsys_mtl.tuning.search import Trial
from recsys_mtl.tuning.space import Choices, FloatRange, IntRange, Space

_MOST_KEYS = 8
_MOST_PRINTED = 10
_COMPLETE, _PRUNED, _BEST = 0, 1, 2


def report_html(result: TuningResult, space: Space, *, interrupted: bool) -> str:
    """The HTML of the page."""
    several = len(result.objectives) > 1
    parts = [
        *([_front(result)] if several else [Section("History", [_history(result)])]),
        *([] if result.best is None else [Section("Settings", [_best_keys(result, space, "")])]),
        _importance(result),
        *(_by_key(result, space, one) for one in result.objectives),
        Section("Trials", [_trials(result, result.trials)]),
        Section("Search space", [_space(space)]),
    ]
    return document(f"Tuning {result.name}", lead(result, interrupted=interrupted), parts)


def terminal_page(result: TuningResult, space: Space, *, interrupted: bool) -> Page:
    """What a terminal shows: the conclusion, the best trials and their keys."""
    several = len(result.objectives) > 1
    ranked = [t for t in result.ranked() if not several or t.number in result.front]
    shown = ranked[:_MOST_PRINTED]
    title = "Pareto front" if several else "Best trials"
    tables = [_trials(result, shown, title, keys=False)]
    if result.best is not None:
        tables.append(_best_keys(result, space))
    return Page(f"Tuning {result.name}", [*lead(result, interrupted=interrupted), *tables])


def _best_keys(result: TuningResult, space: Space, title: str = "Settings") -> Table:
    """The keys of the best trial next to those of the base."""
    assert result.best is not None
    best = result.trial(result.best).params
    base = {} if result.base is None else result.trial(result.base).params
    rows = [(key, _cell(best[key]), _cell(base[key]) if key in base else "–") for key in space]
    return Table(title, ("key", "best", "base"), rows, texts=3)


def lead(result: TuningResult, *, interrupted: bool) -> list[str]:
    """What to conclude."""
    counts = ", ".join(f"{count} {state}" for state, count in result.counts().items())
    first = f"{len(result.trials)} trials ({counts}) in {result.seconds / 60:.1f} minutes"
    first += ", ended by Ctrl-C." if interrupted else "."
    if len(result.objectives) > 1:
        names = ", ".join(one.name for one in result.objectives)
        more = f"{len(result.front)} trials are not exceeded in all of {names} at once: the front."
        return [first, more, _warning("front/trial-N.yaml")]
    assert result.best is not None
    one, best = result.objectives[0], result.trial(result.best)
    text = f"Best: trial {best.number}, validation {one.name} {best.values[one.name]:.5f}"
    if result.base == best.number:
        return [first, f"{text}: the base's own settings. Nothing that was tried is better."]
    if result.base is not None:
        own = result.trial(result.base).values[one.name]
        text += f"; the base has {own:.5f} (trial {result.base})"
    return [first, f"{text}.", _warning("best.yaml")]


def _warning(config: str) -> str:
    text = (
        "A value that is the best of many on the same rows is too good; no test row was scored. "
        f"Training {config} shows its test metrics."
    )
    if config == "best.yaml":
        text += " Whether it is better than the base, ablation.yaml tries on fresh seeds."
    return text


def _history(result: TuningResult) -> Figure:
    one = result.objectives[0]
    complete = [(float(t.number), t.values[one.name]) for t in result.trials if t.values]
    pruned = [
        (float(t.number), t.curve[max(t.curve)])
        for t in result.trials
        if t.state == "pruned" and t.curve
    ]
    values = _shown_range([y for _, y in (*complete, *pruned)], one)
    last = max(t.number for t in result.trials)
    x = Axis(-0.5, last + 0.5, "trial", whole=True)
    y = Axis.over(values)
    chart = Chart(
        f"Validation {one.name} by trial", f"{_direction(one)} The line is the best so far.", x, y,
        width=640,
    )  # fmt: skip
    inside = [p for p in complete if y.low <= p[1] <= y.high]
    chart.line(_best_so_far(complete, one, y, last), _BEST)
    chart.marks([p for p in pruned if y.low <= p[1] <= y.high], _PRUNED)
    chart.marks(inside, _COMPLETE)
    if result.base is not None:
        own = result.trial(result.base).values[one.name]
        chart.guide((x.low, own), (x.high, own), "base")
    return Figure(chart, ("complete", "pruned, at its last epoch", "best so far"))


def _shown_range(values: Sequence[float], one: Objective) -> list[float]:
    """Values to draw: up to five times as far from the best as the middle one is."""
    ranked = sorted(values, reverse=one.larger_is_better)
    best, middle = ranked[0], ranked[len(ranked) // 2]
    if middle == best:
        return ranked
    return [value for value in ranked if abs(value - best) <= 5 * abs(middle - best)]


def _best_so_far(complete: Sequence[Point], one: Objective, y: Axis, last: int) -> list[Point]:
    points: list[Point] = []
    best: float | None = None
    for x, value in complete:
        if best is None or one.better(value, best):
            if best is not None:
                points.append((x, best))
            best = value
            points.append((x, value))
    points.append((float(last), points[-1][1]))
    return [(x, min(max(value, y.low), y.high)) for x, value in points]


def _front(result: TuningResult) -> Section:
    """A chart of each pair of objectives, and the trials of the front."""
    complete = [trial for trial in result.trials if trial.values]
    charts = []
    for one, other in combinations(result.objectives, 2):
        spots = []
        for trial in complete:
            ahead, base = trial.number in result.front, trial.number == result.base
            name = f"{trial.number}{' (base)' if base else ''}" if ahead or base else ""
            at = trial.values[one.name], trial.values[other.name]
            spots.append(Spot(name, *at, series=_PRUNED if ahead else _COMPLETE))
        several = len(result.objectives) > 2
        line = sorted((spot.x, spot.y) for spot in spots if spot.series == _PRUNED)
        text = f"{_direction(one)} {_direction(other)} Numbers are those of trials."
        charts.append(
            scatter(
                f"{other.name} against {one.name}", text, spots, x=one.name, y=other.name,
                names=("other trials", "front"), line=() if several else line,
            )
        )  # fmt: skip
    shown = [result.trial(number) for number in result.front]
    return Section("Pareto front", [charts, _trials(result, shown, "Trials of the front")])


def _importance(result: TuningResult) -> Section:
    if not result.importance:
        return Section("What mattered", ["Fewer than ten trials are complete: too few to say."])
    charts = []
    for name, shares in result.importance.items():
        rows = [(_short(key), share, None, None) for key, share in shares.items()]
        text = "Share of each key in what sets the better trials apart."
        title = f"Importance for {name}"
        charts.append(bars(title, text, rows, label="share", percent=True))
    note = (
        "By PED-ANOVA (Watanabe et al. 2023), over the complete trials alone; of keys that hardly "
        "matter the order is chance."
    )
    return Section("What mattered", [charts, note])


def _by_key(result: TuningResult, space: Space, one: Objective) -> Section:
    """The value of each trial against each key, the most important keys first."""
    keys = [*result.importance.get(one.name, {})] or [*space]
    complete = [trial for trial in result.trials if trial.values]
    shown = set(_shown_range([trial.values[one.name] for trial in complete], one))
    charts = []
    for key in keys[:_MOST_KEYS]:
        x, places = _axis(space[key], key)
        y = Axis.over(shown)
        chart = Chart(
            f"Validation {one.name} by {_short(key)}", f"A mark is a trial. {_direction(one)}", x, y
        )
        marks = [
            (places(trial.params[key]), trial.values[one.name])
            for trial in complete
            if trial.values[one.name] in shown
        ]
        chart.marks(marks, _COMPLETE)
        charts.append(Figure(chart))
    text = "Trials that are far worse than the middle one are not drawn."
    return Section(f"By key: {one.name}", [charts, text])


def _axis(one: FloatRange | IntRange | Choices, key: str) -> tuple[Axis, Any]:
    """The axis of a key, and where a value is on it."""
    if isinstance(one, Choices):
        values = [value for value in one.choices if isinstance(value, int | float)]
        numbers = len(values) == len(one.choices)
        texts = [json.dumps(value) for value in (sorted(values) if numbers else one.choices)]
        return Axis.of(texts, _short(key)), lambda value: float(texts.index(json.dumps(value)))
    if one.log:
        low, high = math.log10(one.low), math.log10(one.high)
        return Axis(low, high, f"{_short(key)}, power of ten"), math.log10
    return Axis(one.low, one.high, _short(key)), float


def _trials(
    result: TuningResult, trials: Sequence[Trial], title: str = "", *, keys: bool = True
) -> Table:
    shown = dict.fromkeys(key for trial in trials for key in trial.params if keys)
    names = [one.name for one in result.objectives]
    rows = [
        (
            f"{trial.number}{' (base)' if trial.number == result.base else ''}",
            trial.state,
            *(_value(trial, name) for name in names),
            *(_cell(trial.params.get(key)) for key in shown),
            str(trial.facts.get("epochs", "")),
            number(trial.facts.get("seconds"), ".1f"),
        )
        for trial in trials
    ]
    notes = [f"Trial {t.number}: {t.reason}." for t in trials if t.reason]
    if any(trial.state == "pruned" for trial in trials):
        notes.append("In brackets: of the last epoch before a trial was pruned.")
    note = " ".join(notes)
    columns = ("trial", "state", *names, *map(_short, shown), "epochs", "seconds")
    return Table(title, columns, rows, texts=2, note=note)


def _value(trial: Trial, name: str) -> str:
    if trial.values or not trial.curve:
        return number(trial.values.get(name), ".5f")
    return f"({trial.curve[max(trial.curve)]:.5f})"


def _short(key: str) -> str:
    """A key without the section that it is in, which its other words make clear."""
    section, _, rest = key.partition(".")
    return rest if section in ("model", "training") else key


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _space(space: Space) -> Table:
    rows = []
    for key, one in space.items():
        if isinstance(one, Choices):
            rows.append((key, " · ".join(map(_cell, one.choices)), ""))
        else:
            how = "logarithmic" if one.log else ""
            rows.append((key, f"{_cell(one.low)} to {_cell(one.high)}", how))
    return Table("", ("key", "values", "scale"), rows, texts=3)


def _direction(one: Objective) -> str:
    return f"{one.name}: {'larger' if one.larger_is_better else 'smaller'} is better."
