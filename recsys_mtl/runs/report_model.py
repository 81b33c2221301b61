"""What a model uses, for the report of its training: features, experts, other tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys_mtl.metrics.weighing import Floats
from recsys_mtl.reports.cells import interval, number
from recsys_mtl.reports.charts import bars, heat_map, lines
from recsys_mtl.reports.document import Figure, Folded, Part
from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import SERIES
from recsys_mtl.tasks import kind_of
from recsys_mtl.training import Epoch
from recsys_mtl.training.evaluate import Scores

_MOST_FEATURES = 12
_MOST_EXPERTS = 16
_MOST_TASKS = 12


def features(result: Mapping[str, Any]) -> list[Part]:
    """Permutation importance by task; empty where it was not measured."""
    given = result.get("importance")
    if given is None:
        return []
    about = (
        "What a task's main metric loses when a feature's values are shuffled among "
        f"{given['rows']:,} test rows, with the 95 % interval over {given['parts']} parts of them. "
        "An interval that holds 0 shows no use of the feature. Features that say the same share "
        "their importance."
    )
    figures, cells = [], []
    for task, entries in given["tasks"].items():
        metric = kind_of(result["tasks"][task]["kind"]).main
        shown = entries[:_MOST_FEATURES]
        rows = [tuple(entry[key] for key in ("feature", "drop", "low", "high")) for entry in shown]
        text = "" if len(shown) == len(entries) else f" of {len(entries)}"
        title = f"{task}: what it uses"
        text = f"The {len(shown)} features{text} that {metric} depends on most."
        figures.append(bars(title, text, rows, label=f"drop of {metric}"))
        cells += [
            (task, e["feature"], number(e["drop"], "+.4f"),
             "" if e["low"] is None else interval(e["low"], e["high"], 4))
            for e in entries
        ]  # fmt: skip
    table = Table("Importance of all features", ("task", "feature", "drop", "interval"), cells, 2)
    return [about, figures, Folded("All features as a table", [table])]


def experts(test: Scores, epochs: Sequence[Epoch]) -> list[Part]:
    """Mean weight of each expert by task, at the end and over the epochs; empty without gates."""
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
    dead = {task: use.dead for task, use in test.gates.items() if use.dead}
    parts: list[Part] = [Table("Who listens to whom", ("task", *shown, "entropy"), rows, note=note)]
    parts += [f"Hardly used, below 1 %: {_named(dead)}."] if dead else []
    history = [(epoch.number, epoch.validation.gates) for epoch in epochs if epoch.validation.gates]
    if len(history) > 1:
        tasks = list(test.gates)[:_MOST_TASKS]
        parts.append([_gate_figure(task, history) for task in tasks])
    return parts


def _gate_figure(task: str, history: Sequence[tuple[int, Mapping[str, Any]]]) -> Figure:
    """The weights of a task's experts over the epochs, those with the largest at the end."""
    last = history[-1][1][task].mean
    largest = sorted(last, key=lambda name: -last[name])[:SERIES]
    series = {
        name: [(number, gates[task].mean[name]) for number, gates in history] for name in largest
    }
    text = f"Mean weight of {len(largest)} of {len(last)} experts over the validation rows."
    return lines(f"{task}: gate", text, series, x="epoch", y="mean weight", whole=True)


def transfer(epochs: Sequence[Epoch], tasks: Sequence[str]) -> list[Part]:
    """Affinity by adaTT at the end and over the epochs, and who takes from whom; may be empty."""
    seen = [(epoch.number, epoch.transfer) for epoch in epochs if epoch.transfer is not None]
    if not seen:
        return []
    last = seen[-1][1]
    matrices = [(n, _off_diagonal(of["affinity"])) for n, of in seen]
    maps = [
        heat_map("Affinity of the tasks' gradients", "At the end; 1: same direction, −1: opposite.",
                 matrices[-1][1].tolist(), rows=tasks, columns=tasks)
    ]  # fmt: skip
    parts: list[Part] = []
    if (lent := last.get("borrowed")) is not None:
        parts += _borrowed(lent, [(n, of.get("borrowed", {})) for n, of in seen], maps, tasks)
    else:
        maps.append(
            heat_map("Transfer weights", "How much of a column's task goes to a row's, at the end.",
                     _off_diagonal(last["weights"]).tolist(), rows=tasks, columns=tasks)
        )  # fmt: skip
    blocked = {task: peers for task, peers in last.get("negative_transfer", {}).items() if peers}
    parts += [f"Blocked, as their gradients oppose: {_named(blocked)}."] if blocked else []
    over = [_affinity_figure(matrices, tasks)] if len(seen) > 1 and len(tasks) > 1 else []
    return [*parts, [*maps, *over]]


def _borrowed(
    lent: Mapping[str, Mapping[str, float]],
    by_epoch: Sequence[tuple[int, Mapping[str, Mapping[str, float]]]],
    figures: list[Figure],
    tasks: Sequence[str],
) -> list[Part]:
    """Sentence and table of who borrows from whom; its heat map and chart go to `figures`."""
    pairs = {(task, donor): w for task, of in lent.items() for donor, w in of.items()}
    if not pairs:
        return ["Nobody borrows: no task with under a quarter of the median labels has a relative."]
    matrix = [[pairs.get((task, donor), float("nan")) for donor in tasks] for task in tasks]
    highest = max(abs(weight) for weight in pairs.values()) or 1.0
    figures.append(
        heat_map("Who borrows from whom", "A row's task learns a column's labels too, by weight.",
                 matrix, rows=tasks, columns=tasks, high=highest)
    )  # fmt: skip
    largest = sorted(pairs, key=lambda pair: -abs(pairs[pair]))[:SERIES]
    if len(by_epoch) > 1:
        series = {
            f"{task} from {donor}": [(n, of.get(task, {}).get(donor, 0.0)) for n, of in by_epoch]
            for task, donor in largest
        }
        figures.append(lines("Borrowing over the epochs", "The largest weights at the end.", series,
                             x="epoch", y="weight", whole=True))  # fmt: skip
    text = "; ".join(f"{task} borrows from {', '.join(of)}" for task, of in lent.items() if of)
    cells = [(task, donor, f"{weight:.3f}") for (task, donor), weight in pairs.items()]
    table = Table("Who borrows from whom", ("task", "from", "weight"), cells, texts=2)
    return [f"{text}.", table]


def _affinity_figure(matrices: Sequence[tuple[int, Floats]], tasks: Sequence[str]) -> Figure:
    """The pairs with the largest affinity at the end, over the epochs."""
    final = matrices[-1][1]
    pairs = sorted(
        ((i, j) for i in range(len(tasks)) for j in range(i)), key=lambda p: -abs(final[p])
    )[:SERIES]
    series = {
        f"{tasks[i]}, {tasks[j]}": [(n, float(matrix[i, j])) for n, matrix in matrices]
        for i, j in pairs
    }
    text = "1: same direction, −1: opposite."
    return lines("The strongest pairs over the epochs", text, series, x="epoch", y="affinity",
                 whole=True)  # fmt: skip


def _off_diagonal(blocks: Any) -> Floats:
    """(T, T) mean over the blocks, NaN on the diagonal."""
    matrix: Floats = np.asarray(blocks, np.float64).mean(axis=0)
    np.fill_diagonal(matrix, np.nan)
    return matrix


def _named(by_task: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{task}: {', '.join(names)}" for task, names in by_task.items())
