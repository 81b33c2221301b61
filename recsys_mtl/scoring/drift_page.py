"""drift.json and drift.html: what moved, the most moved first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from recsys_mtl.files import atomic_write
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.scoring.drift import FLOOR, LARGE, STABLE, Drift
from recsys_mtl.scoring.drift_document import drift_document
from recsys_mtl.scoring.tally import Tally
from recsys_mtl.serving.reference import Reference
from recsys_mtl.storage.location import Location

_PRINTED = 10
_READ = (
    f"PSI < {STABLE}: stable, to {LARGE}: moderate, above: large; shares are at least {FLOOR}. "
    "By chance: what so few rows show without drift, on average; a larger PSI that one batch in a "
    "thousand reaches without drift is read as chance too."
)


def write_drift(
    drifts: Sequence[Drift], folder: Location, name: str, reference: Reference, tally: Tally
) -> Page:
    """Write `name`.json and `name`.html.

    Args:
        drifts: of `measure`.
        folder: where to.
        name: of both files, without suffix.
        reference: of the training.
        tally: counts of the scored rows.

    Returns:
        The page for a terminal.
    """
    page, table = _page(drifts, rows=tally.rows, split=reference.split)
    document = {
        "rows": tally.rows,
        "floor": FLOOR,
        "scores_of": reference.split,
        "drift": [asdict(drift) for drift in drifts],
    }
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    atomic_write(folder / f"{name}.json", text + "\n")
    page.write(folder, name, html=drift_document(drifts, reference, tally, table))
    return page


def _page(drifts: Sequence[Drift], *, rows: int, split: str) -> tuple[Page, Table]:
    """The page, and the table of all drifts in it."""
    columns = ("of", "PSI", "by chance", "reading", "null", "then", "unknown", "then", "moved most")
    cells = [
        (
            drift.title,
            number(drift.psi),
            number(drift.by_chance),
            drift.reading,
            _percent(drift.null),
            _percent(drift.null_then),
            _percent(drift.unknown),
            _percent(drift.unknown_then),
            ", ".join(drift.moved) if drift.reading in ("moderate", "large") else "",
        )
        for drift in drifts
    ]
    top = Table(
        f"drift of {rows:,} rows, the largest", columns[:-1], [c[:-1] for c in cells][:_PRINTED]
    )
    full = Table("all features and scores", columns, cells, note=_READ, printed=False)
    counts = [
        f"{sum(d.reading == reading for d in drifts)} {reading}"
        for reading in ("large", "moderate", "by chance", "stable", "no rows")
    ]
    then = f"Features against training rows, scores against {split} rows; {', '.join(counts)}."
    return Page("Drift since the training", [then, top, full]), full


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"
