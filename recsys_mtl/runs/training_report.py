"""report.html of a training: what it reached, how sure that is, and where it comes from.

One file without scripts or links to elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_mtl.config import Config, dump_config
from recsys_mtl.files import atomic_write
from recsys_mtl.reports.charts import lines
from recsys_mtl.reports.document import Code, Folded, Part, Section, document
from recsys_mtl.reports.page import Table
from recsys_mtl.runs.folder import REPORT
from recsys_mtl.runs.importance import SampledLoader
from recsys_mtl.runs.report_figures import (
    CalibrationBins,
    Labelled,
    budget_table,
    calibration_table,
    event_figures,
    tenths_figure,
)
from recsys_mtl.runs.report_model import experts, features, transfer
from recsys_mtl.runs.report_results import description, lead, results, segments
from recsys_mtl.tasks import kind_of
from recsys_mtl.tracking.run import Run
from recsys_mtl.tracking.uri import without_secrets
from recsys_mtl.training import Epoch
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.wiring.trainer import Fitted

log = logging.getLogger(__name__)


def write_report(
    out: Path,
    tracked: Run,
    config: Config,
    fitted: Fitted,
    test: Scores,
    rows: SampledLoader,
    result: dict[str, Any],
) -> None:
    """Write the page about the run; what cannot be measured or drawn never costs the training.

    Args:
        out: the run's folder.
        tracked: gets the page.
        config: of the run.
        fitted: its network.
        test: of the test rows.
        rows: that these scores are of.
        result: what result.json holds, which gets the importance of the features.
    """
    public, epochs = without_secrets(config), fitted.result.epochs
    try:
        if not result["interrupted"] and not fitted.network.embeddings.ranges:
            important = rows.importance(fitted.network)
            result |= {} if important is None else {"importance": important.numbers()}
        page = training_report(public, result, test, epochs)
        markdown = description(result)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        log.warning("report.html could not be made", exc_info=True)
        return
    except KeyboardInterrupt:
        log.warning("interrupted: there is no report.html")
        return
    tracked.artifact(atomic_write(out / REPORT, page))
    tracked.describe(markdown)


def training_report(
    config: Config, result: Mapping[str, Any], test: Scores, epochs: Sequence[Epoch]
) -> str:
    """The HTML of a training's report.

    Args:
        config: the effective one, without credentials.
        result: what result.json holds.
        test: of the test rows.
        epochs: of the training.
    """
    best = result["training"]["best_epoch"]
    parts: dict[str, Sequence[Part]] = {
        "Training": _curves(result["tasks"], epochs, best),
        "Features": features(result),
        "Experts": experts(test, epochs),
        "Transfer": transfer(epochs, list(result["tasks"])),
        "Segments": segments(result),
        "Data": _data(result),
        "Settings": [Folded("The effective config", [Code(dump_config(config))])],
    }
    sections = [
        Section("Results", results(result)),
        *(_task(config, task, test) for task in result["tasks"] if test.labelled[task]),
        *(Section(title, of) for title, of in parts.items() if of),
    ]
    return document(f"{result['name']}: report of the training", lead(result), sections)


def _task(config: Config, task: str, test: Scores) -> Section:
    """Charts of one task's predictions."""
    kind, predicted = kind_of(config.tasks[task].kind), test.predictions[task]
    if predicted.ndim > 1 or not (kind.reliability or kind.ordered):
        text = "Its metrics are in the table above; there is no chart for this kind of task."
        return Section(task, [text])
    rows = Labelled.of(test.labels[task], predicted, test.weights)
    if not kind.reliability:
        return Section(task, [[tenths_figure(task, rows)]])
    bins = CalibrationBins.of(rows, config.evaluation.calibration_bins)
    budgets = budget_table(task, rows)
    numbers = Folded("The calibration as a table", [calibration_table(task, bins)])
    figures = event_figures(task, rows, bins)
    return Section(task, [figures, *([] if budgets is None else [budgets]), numbers])


def _curves(tasks: Mapping[str, Any], epochs: Sequence[Epoch], best: int) -> list[Any]:
    """Loss of training and validation rows by epoch, a chart a task."""
    figures = []
    for task in tasks:
        train = [(e.number, e.train_losses[task]) for e in epochs if task in e.train_losses]
        losses = [(e.number, e.validation.losses.get(task)) for e in epochs]
        valid = [(number, loss) for number, loss in losses if loss is not None]
        text = f"The saved weights are those after epoch {best}."
        both = {"training": train, "validation": valid}
        at = (best, "best epoch")
        figures.append(
            lines(f"{task}: loss", text, both, x="epoch", y="loss", whole=True, guide=at)
        )
    return [figures]


def _data(result: Mapping[str, Any]) -> list[Any]:
    data = result["data"]
    counts = ((name, f"{rows:,}") for name, rows in data["rows"].items())
    parts: list[Any] = [Table("Rows", ("split", "rows"), list(counts))]
    if unknown := {k: v for k, v in data.get("unknown", {}).items() if v}:
        rows = [(name, f"{share:.2%}") for name, share in unknown.items()]
        parts.append(Table("Unknown values of validation rows", ("feature", "share"), rows))
    parts += [f"Warning: {text}" for text in data["warnings"]]
    return [*parts, f"Fingerprint of the data: {data['fingerprint']}; seed {result['seed']}."]
