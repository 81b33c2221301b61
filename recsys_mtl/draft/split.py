"""How a table is split: by a time or a group that it has, else by fractions of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.facts import ColumnFacts, words_of
from recsys_mtl.errors import did_you_mean, wrong

LEAST_TIMES = 7
"""Distinct times that a split by time needs."""
NEW = 0.5
"""Share of new values in the newest rows from which on a column means nothing to a model."""
_EVENT = ("event", "impression", "request", "visit", "click", "order", "transaction", "time", "ts")
_STORED = ("timestamp", "datetime", "date", "day", "dt")
_OLD = ("birth", "birthday", "born", "dob", "signup", "created", "registered", "register", "joined",
        "start", "end", "expiry", "updated", "modified", "upload", "release")  # fmt: skip
_GROUPS = frozenset({
    "account", "buyer", "card", "client", "cust", "customer", "device", "household", "member",
    "patient", "person", "session", "subscriber", "user", "visitor",
})  # fmt: skip
_NAMES = _GROUPS | {"id", "uuid", "guid", "key", "no", "nr", "hash", "code"}
_TIME_NAMES = frozenset({"time", "timestamp", "ts", "datetime", "date", "epoch"})
_EPOCH = ((1e8, 5e9), (1e11, 5e12), (1e14, 5e15), (19_000_101, 21_000_101))  # s, ms, µs, yyyymmdd
_VALID = _TEST = 0.15  # as in the config


class DraftedSplit(NamedTuple):
    """A split.

    Attributes:
        section: of the config, `data.split`.
        note: why, for the comment.
        column: that it reads; None: none.
        newest: (B,) whether a row of the sample is not a training row; None where time plays no
            part.
    """

    section: dict[str, Any]
    note: str
    column: str | None = None
    newest: NDArray[np.bool_] | None = None


def drafted_split(
    columns: Mapping[str, ColumnFacts], labels: Iterable[str], group: str | None
) -> DraftedSplit:
    """The split of a table.

    Args:
        columns: of the table.
        labels: columns of labels.
        group: column whose equal values stay together, where the user names one.

    Raises:
        UserError: the group is no column that can be one.
    """
    labels = [*labels]
    others = {name: facts for name, facts in columns.items() if name not in labels}
    if group is not None:
        return _by_group(columns, others, group)
    grouped = _suggested_groups(others)
    times = sorted(
        (-_score(facts), index, facts)
        for index, facts in enumerate(others.values())
        if _is_time(facts)
    )
    for _, _, facts in times:
        newest = _newest(facts)
        if newest is None or not _both_classes(columns, labels, ~newest):
            continue
        note = f"{facts.described()}: the newest rows are held out"
        more = [f"'{other.name}'" for _, _, other in times if other is not facts]
        if more:
            note += "; other times: " + ", ".join(more)
        section = {"kind": "time", "column": facts.name}
        return DraftedSplit(section, note + _hint(grouped), facts.name, newest)
    dates = [facts for facts in others.values() if facts.form == "dates" and facts.distinct > 1]
    why = "no date" if not dates else f"'{dates[0].name}' has nulls or splits badly"
    return DraftedSplit({"kind": "fraction"}, f"{why}: rows at random{_hint(grouped)}")


def _hint(groups: list[str]) -> str:
    if not groups:
        return ""
    return f"; --group {groups[0]} keeps the rows of each '{groups[0]}' in one split instead"


def _by_group(
    columns: Mapping[str, ColumnFacts], others: Mapping[str, ColumnFacts], group: str
) -> DraftedSplit:
    where = f"--group {group}"
    if group not in columns:
        raise wrong("no such column", where=where, fix=did_you_mean(group, columns))
    if group not in others:
        raise wrong("this column is a label", where=where, fix="name another column")
    facts = others[group]
    expected, found = "a value in every row", ""
    if facts.form in ("lists", "other"):
        expected, found = "single values", facts.reason or facts.form
    elif facts.nulls:
        found = f"{facts.nulls / facts.rows:.1%} null"
    elif facts.distinct < LEAST_TIMES:
        expected, found = f"{LEAST_TIMES} groups or more", str(facts.distinct)
    if found:
        raise wrong("no group", where=where, expected=expected, found=found)
    each = facts.rows / facts.distinct
    note = f"{facts.distinct:,} groups, {each:.3g} rows each: all rows of one are in one split"
    return DraftedSplit({"kind": "group", "column": group}, note, group)


def _suggested_groups(columns: Mapping[str, ColumnFacts]) -> list[str]:
    """Columns whose name and repeated values say that they are customers or the like."""
    return [
        name
        for name, facts in columns.items()
        if facts.form in ("numbers", "texts")
        and not facts.nulls
        and not _NAMES.isdisjoint(words_of(name)[-1:])
        and not _GROUPS.isdisjoint(words_of(name))
        and 20 <= facts.distinct <= 0.9 * facts.rows
    ]


def _is_time(facts: ColumnFacts) -> bool:
    if facts.nulls or facts.distinct < LEAST_TIMES:
        return False
    if facts.form == "dates":
        return True
    words = {*words_of(facts.name)}
    if facts.form != "numbers" or not facts.integers or _TIME_NAMES.isdisjoint(words):
        return False
    low, high = facts.numbers.min(), facts.numbers.max()
    return any(first <= low and high <= last for first, last in _EPOCH)


def _score(facts: ColumnFacts) -> int:
    """How likely a time is the one of the event that a row is about."""
    words = {*words_of(facts.name)}
    named = 2 * bool(words & {*_EVENT}) + bool(words & {*_STORED})
    return named + 2 * (facts.form == "dates") - 8 * bool(words & {*_OLD})


def _newest(facts: ColumnFacts) -> NDArray[np.bool_] | None:
    """(B,) the rows of the newest shares; None where a split would be empty."""
    times = facts.values.to_physical().to_numpy()
    ordered = np.sort(times)
    starts = [ordered[int((1 - share) * len(times) + 1e-9)] for share in (_VALID + _TEST, _TEST)]
    if not ordered[0] < starts[0] < starts[1]:
        return None
    return np.asarray(times >= starts[0])


def _both_classes(
    columns: Mapping[str, ColumnFacts], labels: list[str], rows: NDArray[np.bool_]
) -> bool:
    """Whether every label has two values in these rows."""
    mask = pl.Series(rows)
    return all(columns[name].values.filter(mask).drop_nulls().n_unique() > 1 for name in labels)


def new_to_the_newest(facts: ColumnFacts, newest: NDArray[np.bool_]) -> float:
    """Share of the newest rows' values that the others do not have, or outside their range."""
    if facts.form == "lists":
        return 0.0
    late = facts.values.filter(pl.Series(newest)).drop_nulls()
    early = facts.values.filter(pl.Series(~newest)).drop_nulls()
    if not len(late) or not len(early):
        return 0.0
    if facts.form == "numbers" and not facts.named_like_id:
        return int(((late < early.min()) | (late > early.max())).sum()) / len(late)
    return 1.0 - int(late.is_in(early.unique().implode()).sum()) / len(late)
