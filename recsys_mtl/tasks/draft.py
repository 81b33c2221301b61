"""The kind of task that a label column's facts suggest, as a section of a config."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from recsys_mtl.columns.canonical import canonical, natural_order
from recsys_mtl.columns.facts import ColumnFacts, shown
from recsys_mtl.errors import UserError, wrong

MANY_CLASSES = 200
"""Distinct values from which on a label names items."""
FEW_NUMBERS = 10
"""Distinct whole numbers up to which they are classes."""
UNKNOWN = frozenset({
    "unknown", "n/a", "na", "null", "nan", "?", "-", "missing", "not available", "unspecified",
    "undefined",
})  # fmt: skip
"""Words that mean unlabelled, in lower case."""
_YES = ("true", "yes", "y", "t", "1", "on", "positive")
_MANY_ZEROS, _SMALL_COUNT = 0.2, 20.0

Section = dict[str, Any]


class DraftedTask(NamedTuple):
    """A task.

    Attributes:
        section: of the config, without the label's column.
        note: why, for the comment.
        positives: canonical texts that count as 1; none for 1 and true.
        null_values: texts that mean unlabelled.
        guessed: whether only its rarity makes a text count as 1.
    """

    section: Section
    note: str
    positives: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ()
    guessed: bool = False


def drafted_task(facts: ColumnFacts) -> DraftedTask:
    """The task of a label column.

    Raises:
        UserError: it is constant, or holds what no task predicts.
    """
    where, nulls = f"--label {facts.name}", f", {facts.nulls / facts.rows:.1%} unlabelled"
    note_of_nulls = nulls if facts.nulls else ""
    if facts.form not in ("numbers", "booleans", "texts"):
        found = facts.reason or facts.form
        raise wrong("no label", where=where, expected="numbers or texts", found=found)
    if facts.infinite:
        fix = "make them null in the data"
        raise wrong("infinite values in a label", where=where, expected="finite numbers", fix=fix)
    if facts.distinct < 2:
        raise _constant(facts, where)
    drafted = _of_texts(facts, where) if facts.form == "texts" else _of_numbers(facts)
    words = [*facts.words, *drafted.null_values]
    section = drafted.section | ({"null_values": words} if words else {})
    return drafted._replace(
        section=section, note=drafted.note + note_of_nulls, null_values=tuple(words)
    )


def _constant(facts: ColumnFacts, where: str) -> UserError:
    value = f"only '{facts.examples()}'" if facts.distinct else "no value"
    if facts.nulls and facts.distinct:
        value += " and null, which means unlabelled"
    expected = "two values or more"
    found = value + ("" if facts.complete else " in the sample")
    return wrong("the label is constant", where=where, expected=expected, found=found)


def _of_numbers(facts: ColumnFacts) -> DraftedTask:
    counts, numbers, note = facts.counts, facts.numbers, facts.described()
    if facts.distinct == 2:
        low, high = sorted(counts["value"])
        rate = f"{float((numbers == high).mean()):.2%} positive"
        if (low, high) == (0, 1):
            return DraftedTask({"kind": "binary"}, rate)
        positive = canonical(pl.Series([high]))[0]
        return DraftedTask({"kind": "binary", "positive": positive}, rate, (positive,))
    low, zeros = float(numbers.min()), float((numbers == 0).mean())
    amounts = numbers[numbers > 0]
    falling = float(counts["value"][0]) == 0.0
    if facts.integers and low == 0 and falling and float(amounts.mean()) < _SMALL_COUNT:
        return DraftedTask({"kind": "count"}, f"{note}; whole numbers, mostly small")
    if facts.integers and facts.distinct <= FEW_NUMBERS:
        return _classes(facts, f"{note}; numbers with an order can be kind: regression")
    if facts.integers and facts.named_like_id and facts.distinct >= MANY_CLASSES:
        return DraftedTask({"kind": "retrieval"}, f"{note}; ids of items")
    if low >= 0 and zeros >= _MANY_ZEROS:
        return DraftedTask(
            {"kind": "customer_value"}, f"{zeros:.1%} are 0, up to {shown(numbers.max())}"
        )
    section: Section = {"kind": "regression"}
    if facts.integers:
        note += "; ids of items would be kind: retrieval"
    if facts.is_skewed:
        section["transform"] = "log1p"
        note += "; skewed: for sums over predictions use standardize"
    return DraftedTask(section, note)


def _of_texts(facts: ColumnFacts, where: str) -> DraftedTask:
    values = facts.counts["value"].to_list()
    nulls = tuple(value for value in values if value.lower() in UNKNOWN)
    known = [value for value in values if value not in nulls]
    if len(known) < 2:
        nulls, known = (), values
    rows = dict(facts.counts.iter_rows())
    labelled = sum(rows[value] for value in known)
    note = f"{', '.join(map(repr, nulls))} read as unlabelled" if nulls else ""
    if len(known) == 2:
        yes = [value for value in known if value.lower() in _YES]
        positive = yes[0] if len(yes) == 1 else min(known, key=lambda value: (rows[value], value))
        why = "" if len(yes) == 1 else ", the rarer value"
        text = f"{rows[positive] / labelled:.2%} positive{why}"
        section = {"kind": "binary", "positive": positive}
        full = "; ".join(filter(None, (text, note)))
        return DraftedTask(section, full, (positive,), nulls, guessed=len(yes) != 1)
    if len(known) >= MANY_CLASSES:
        if facts.distinct > 0.5 * len(facts.known):
            found = f"{facts.distinct:,} different texts in {len(facts.known):,} rows"
            raise wrong("no label", where=where, expected="classes or items", found=found)
        section = {"kind": "retrieval"}
        return DraftedTask(section, f"{len(known):,} items", null_values=nulls)
    return _classes(facts, note, known)._replace(null_values=nulls)


def _classes(facts: ColumnFacts, note: str, known: list[str] | None = None) -> DraftedTask:
    names = known or canonical(facts.counts["value"]).to_list()
    section: Section = {"kind": "multiclass"}
    if facts.complete:  # a class that training rows lack would end a training otherwise
        section["classes"] = natural_order(names)
    text = f"{len(names)} classes, {int(facts.counts['rows'].min() or 0):,} rows of the rarest"  # type: ignore[arg-type]
    return DraftedTask(section, "; ".join(filter(None, (text, note))))
