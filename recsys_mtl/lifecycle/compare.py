"""Champion and challenger, or a first champion alone, on their evaluation rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle.decide import FIRST, Decision, decide
from recsys_mtl.lifecycle.evidence import Evidence, gather
from recsys_mtl.lifecycle.gate import Gate, check_tasks
from recsys_mtl.lifecycle.rows import (
    LoadedVersion,
    choose_rows,
    group_column,
    measure,
    seen_in_training,
)
from recsys_mtl.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelComparison:
    """What was measured.

    Attributes:
        decision: of the gate.
        rows: their name in the report.
        count: how many; 0 where a first champion could not be measured.
        fingerprint: of the rows.
        metrics: all metrics by task, of "champion" and "challenger".
        evidence: None for a first champion.
        notes: remarks for the reader.
    """

    decision: Decision
    rows: str
    count: int = 0
    fingerprint: str = ""
    metrics: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)
    evidence: Evidence | None = None
    notes: tuple[str, ...] = ()


def compare(
    gate: Gate,
    challenger: LoadedVersion,
    champion: LoadedVersion,
    *,
    input: str | None,
    data: str | None,
) -> ModelComparison:
    """Measure both models on the same rows and apply the gate.

    Args:
        gate: the rules.
        challenger: its test split is used without `input`.
        champion: the model that it is compared with.
        input: labelled rows.
        data: folder that paths start from.

    Raises:
        UserError: the rows do not fit a model, or the champion may have been trained on them.
    """
    check_tasks(gate, champion.predictor.preprocessor.labels)
    rows = choose_rows(challenger, champion, input=input, data=data)
    config = challenger.predictor.config
    grouped_by = None if config.evaluation.groups else group_column(config)
    theirs, ours = measure(champion, rows), measure(challenger, rows, grouped_by=grouped_by)
    labels = champion.predictor.preprocessor.labels, challenger.predictor.preprocessor.labels
    bins = config.evaluation.calibration_bins
    evidence = gather(gate, labels, (theirs.scores, ours.scores), bins=bins, dependent=ours.groups)
    return ModelComparison(
        decision=decide(gate, evidence),
        rows=rows.title,
        count=evidence.rows,
        fingerprint=ours.fingerprint,
        metrics={"champion": theirs.scores.metrics, "challenger": ours.scores.metrics},
        evidence=evidence,
        notes=tuple(_notes(evidence, challenger, champion, ours.fingerprint if input else "")),
    )


def first(challenger: LoadedVersion, *, input: str | None, data: str | None) -> ModelComparison:
    """Measure a first champion; where its own test split cannot be read, a note says why.

    Raises:
        UserError: the rows of `input` do not fit.
    """
    decision = Decision((), FIRST)
    rows = choose_rows(challenger, None, input=input, data=data)
    try:
        own = measure(challenger, rows)
    except UserError as error:
        if input is not None:
            raise
        log.warning("the first champion is not measured: %s", error)
        return ModelComparison(decision, rows.title, notes=(f"Not measured: {error}.",))
    metrics = {"challenger": own.scores.metrics}
    return ModelComparison(decision, rows.title, len(own.scores.weights), own.fingerprint, metrics)


def _notes(
    evidence: Evidence, challenger: LoadedVersion, champion: LoadedVersion, of_input: str
) -> list[str]:
    config = challenger.predictor.config
    groups = config.evaluation.groups or group_column(config)
    notes = ["Rows are resampled as if independent: of groups of alike rows intervals are narrow."]
    if evidence.clustered:
        notes = [f"All rows of one {groups} are resampled together."]
    if evidence.used < evidence.rows:
        notes.append(f"{evidence.used:,} of {evidence.rows:,} rows were drawn for the comparison.")
    notes += [
        f"Some of these files are among those that the {model.title} was made from: where they "
        "hold its training rows, the comparison favours it."
        for model in (challenger, champion)
        if of_input and seen_in_training(model.predictor, of_input)
    ]
    for notice in notes[1:]:
        log.warning("%s", notice)
    if evidence.new:
        notes.append(f"Only the challenger has, and nothing judges: {', '.join(evidence.new)}.")
    theirs, ours = (m.predictor.preprocessor.labels for m in (champion, challenger))
    remarks = {task: ours[task].remark(theirs[task]) for task in evidence.tasks}
    return notes + [f"{task}: {remark}" for task, remark in remarks.items() if remark]
