"""A version of a registered model becomes its champion, if it passes the gate.

What a decision writes:

    tags of the version             decision, and why, when, by whom, against which champion
    promotion/TIME/report.*         md, html and json, in the version's run
    aliases champion and previous   moved where the challenger passes
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_mtl.config import config_hash
from recsys_mtl.errors import wrong
from recsys_mtl.lifecycle.commit import Change, commit, decision_tags
from recsys_mtl.lifecycle.compare import compare, first
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.lifecycle.lock import locked
from recsys_mtl.lifecycle.report import make_page, numbers
from recsys_mtl.lifecycle.rows import load
from recsys_mtl.reports.output import envelope, write_result
from recsys_mtl.reports.page import Page
from recsys_mtl.reports.report import Report
from recsys_mtl.tracking.registry import CHAMPION, PREVIOUS, Registry, Version


@dataclass(frozen=True)
class Request:
    """Arguments of `promote`.

    Attributes:
        name: of the registered model.
        challenger: number of its version, or an alias.
        input: labelled rows; else the challenger's own test split.
        data: folder that data paths start from.
        dry_run: leave the registry as it is.
        break_lock: take the lock from its holder.
    """

    name: str
    challenger: str
    input: str | None = None
    data: str | Path | None = None
    dry_run: bool = False
    break_lock: bool = False


def promote(registry: Registry, gate: Gate, request: Request) -> Report:
    """Compare a challenger with the champion; make it the champion where it passes the gate.

    Args:
        registry: that holds both.
        gate: the rules.
        request: which versions, which rows.

    Returns:
        The decision; the number `decision.passed` says whether the challenger passes.

    Raises:
        UserError: wrong input, the lock is held, or the registry failed; no alias has changed.
    """
    started = datetime.now(UTC)
    challenger = _challenger(registry, request)
    champion = registry.alias(request.name, CHAMPION)
    if champion is not None and champion.number == challenger.number:
        what = f"version {challenger.number} is the champion already"
        raise wrong(what, where=f"--challenger {request.challenger}", fix="name another version")
    model = load(registry, challenger, "challenger")
    rows: dict[str, Any] = {
        "input": request.input,
        "data": None if request.data is None else str(request.data),
    }
    if champion is None:
        comparison = first(model, **rows)
    else:
        comparison = compare(gate, model, load(registry, champion, "champion"), **rows)
    versions = {"champion": champion, "challenger": challenger}
    page = make_page(gate, versions, comparison, dry_run=request.dry_run)
    hashed = config_hash(model.predictor.config)
    result = envelope("promote", started=started, config_hash=hashed)
    result |= numbers(gate, versions, comparison, dry_run=request.dry_run)
    if not request.dry_run:
        texts = {
            f"promotion/{started:%Y%m%dT%H%M%SZ}/{file}": text
            for file, text in _texts(page, result).items()
        }
        number = None if champion is None else champion.number
        passed, reason = comparison.decision.passed, comparison.decision.reason
        tags = decision_tags("promoted" if passed else "rejected", reason, number)
        moves = ((CHAMPION, challenger.number),) if passed else ()
        if passed and number is not None:
            moves = ((PREVIOUS, number), *moves)
        change = Change(challenger, {challenger.number: tags}, number, texts, moves)
        with locked(registry, request.name, break_lock=request.break_lock) as still_locked:
            commit(registry, change, still_locked)
    return Report(page, result)


def _challenger(registry: Registry, request: Request) -> Version:
    requested = request.challenger.removeprefix("@")
    mark = "/" if requested.isdecimal() else "@"
    where = f"--challenger {request.challenger}"
    return registry.resolve(f"{request.name}{mark}{requested}", where=where)


def _texts(page: Page, result: dict[str, Any]) -> dict[str, str]:
    """The report's files by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page.write(folder, "report", markdown=True)
        write_result(folder, result).rename(folder / "report.json")
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}
