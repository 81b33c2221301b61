"""drift.html: what has moved since the training, with distributions then and now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys_mtl.columns.bins import Counts
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.charts import bars, then_and_now
from recsys_mtl.reports.document import Figure, Part, Section, document
from recsys_mtl.reports.page import Table
from recsys_mtl.scoring.drift import LARGE, STABLE, Drift
from recsys_mtl.scoring.tally import Tally
from recsys_mtl.serving.reference import Reference

_MOST_PSI = 1.0
_MOST_BARS, _MOST_FIGURES, _MOST_CELLS = 20, 12, 14
_MOVED = ("large", "moderate")


def drift_document(
    drifts: Sequence[Drift], reference: Reference, tally: Tally, table: Table
) -> str:
    """The HTML of the page on drift.

    Args:
        drifts: of `measure`, the most moved first.
        reference: of the training.
        tally: counts of the scored rows.
        table: all drifts.
    """
    measured = [drift for drift in drifts if drift.psi is not None]
    parts: dict[str, Sequence[Part]] = {
        "What moved most": [[_sizes(measured[:_MOST_BARS])]] if measured else [],
        "Then and now": _then_and_now(drifts, reference, tally),
        "All features and scores": [table],
    }
    sections = [Section(title, of) for title, of in parts.items() if of]
    return document("Drift since the training", _lead(drifts, reference, tally), sections)


def _lead(drifts: Sequence[Drift], reference: Reference, tally: Tally) -> list[str]:
    """The verdict, then what was compared."""
    of = f"of {len(drifts)} features and scores"
    lines = [f"{sum(d.reading in _MOVED for d in drifts)} {of} have moved."]
    for word in _MOVED:
        if moved := [d for d in drifts if d.reading == word]:
            lines.append(f"{word.capitalize()}: {'; '.join(map(_described, moved[:5]))}.")
            if len(moved) > 5:
                lines[-1] = f"{lines[-1][:-1]}; and {len(moved) - 5} more."
    if len(lines) == 1:
        lines = [f"Nothing has moved: all {len(drifts)} features and scores are stable, or as far "
                 "from the training as chance brings so few rows."]  # fmt: skip
    if missing := [d.title for d in drifts if d.reading == "no rows"]:
        lines.append(f"Without values: {', '.join(missing)}.")
    about = f"{tally.rows:,} rows. Features are compared with training rows, scores with those of "
    split = {"valid": "validation", "train": "training"}.get(reference.split, reference.split)
    return [*lines, f"{about}{split} rows."]


def _described(drift: Drift) -> str:
    """A drift in a few words."""
    facts = [f"PSI {drift.psi:.2f}"]
    for name, now, then in (
        ("unknown", drift.unknown, drift.unknown_then),
        ("null", drift.null, drift.null_then),
    ):
        if now is not None and then is not None and abs(now - then) >= 0.01:
            facts.append(f"{name} {now:.1%} instead of {then:.1%}")
    return f"{drift.title} ({', '.join(facts)})"


def _sizes(drifts: Sequence[Drift]) -> Figure:
    rows = [
        (f"{number(drift.psi, '.2f')} {drift.title}", drift.psi, None, None) for drift in drifts
    ]
    text = (
        "Population stability index. Dashed lines: below the left one stable, above the right one "
        f"large. Bars end at {_MOST_PSI:g}."
    )
    return bars("The largest PSI", text, rows, label="PSI", guides=(STABLE, LARGE), most=_MOST_PSI)


def _then_and_now(drifts: Sequence[Drift], reference: Reference, tally: Tally) -> list[Part]:
    """Distributions of what moved; of the first ones where nothing did."""
    known = [drift for drift in drifts if drift.psi is not None]
    moved = [drift for drift in known if drift.reading in _MOVED]
    shown = (moved or known[:3])[:_MOST_FIGURES]
    figures = []
    for drift in shown:
        key = next(key for key in reference.expected if key == (drift.part, drift.name))
        expected = reference.expected[key]
        rows = _cells(expected.bins.cells, expected.counts, tally.counts[key])
        text = f"PSI {drift.psi:.3f}: {drift.reading}."
        figures.append(then_and_now(drift.title, text, rows, label="share of the values",
                                    names=("training", "now")))  # fmt: skip
    left = len(moved) - len(shown)
    more = [f"{left} more have moved; all are in the table below."] if left > 0 else []
    return [figures, *more] if figures else []


def _cells(names: Sequence[str], then: Counts, now: Counts) -> list[tuple[str, float, float]]:
    """Name and share then and now of each cell; of many the largest, and the others together."""
    before, after = then / then.sum(), now / now.sum()
    largest = np.maximum(before, after)
    kept = np.sort(np.argsort(-largest, kind="stable")[:_MOST_CELLS])
    rows = [(names[i], float(before[i]), float(after[i])) for i in kept if largest[i] > 0]
    rest = [i for i in range(len(names)) if i not in set(kept.tolist()) and largest[i] > 0]
    if rest:
        rows.append((f"{len(rest)} others", float(before[rest].sum()), float(after[rest].sum())))
    return rows
