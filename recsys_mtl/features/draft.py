"""The kind of feature that a column's facts suggest, as a section of a config."""

from __future__ import annotations

from typing import Any, NamedTuple

from recsys_mtl.columns.facts import ColumnFacts

SEPARATORS = ("|", ";", ",")
FEW = 100
"""Distinct values up to which every one has enough rows."""
VERY_MANY = 1_000_000
"""Distinct values from which on they are hashed: a vocabulary would hold each of them."""
DENSE_FROM = 100_000
"""Ids from 0 to N - 1 are their own rows from here on; below, a vocabulary costs nothing."""
MANY_NUMBERS = 100
"""Columns of numbers from which on each is one input instead of bins."""
_LISTED = 0.2  # of the values, that hold a separator

Section = dict[str, Any]


class DraftedFeature(NamedTuple):
    """A feature.

    Attributes:
        section: of the config.
        note: why, for the comment.
    """

    section: Section
    note: str


def drafted_feature(facts: ColumnFacts, *, rows: int, many_numbers: bool) -> DraftedFeature:
    """The feature of a column that holds one, see `unusable`.

    Args:
        facts: of the column.
        rows: of the table.
        many_numbers: whether the table has `MANY_NUMBERS` columns of numbers.
    """
    note = facts.described()
    if facts.form == "lists":
        return DraftedFeature(_of_ids({"kind": "categorical_list"}, facts, rows), note)
    if facts.form == "numbers" and not _is_category(facts):
        return _numeric(facts, note, many_numbers=many_numbers)
    if facts.form == "texts" and (separator := _separator(facts)) is not None:
        section = {"kind": "categorical_list", "separator": separator}
        return DraftedFeature(_auto(section), f"{note}; lists")
    section = _of_ids({"kind": "categorical"}, facts, rows)
    remark = {"id": "ids from 0 on", "hash": "very many values"}.get(section.get("encoding", ""))
    return DraftedFeature(section, f"{note}; {remark}" if remark else note)


def unusable(facts: ColumnFacts) -> str | None:
    """Why a column is no feature whatever the labels are; None where it may be one."""
    where = "" if facts.complete else " in the sample"
    known = len(facts.known)
    if facts.form == "other":
        return facts.reason
    if not known:
        return f"no value{where}"
    if facts.distinct == 1 and not facts.nulls:
        return f"constant{where}: {facts.examples()}"
    if facts.form == "dates":
        return f"a date, {facts.described()}: no feature reads it; days since it can be one"
    if facts.form == "texts":
        if known > FEW and facts.distinct > 0.5 * known and facts.known.str.len_bytes().mean() > 40:  # type: ignore[operator]
            return f"free text: {facts.examples()}"
        if known > FEW and facts.distinct > 0.95 * known and facts.complete:
            what = "another value in" + (" " if facts.is_unique else " nearly ")
            return f"{what}every row: {facts.examples()}"
    if facts.is_unique and known > FEW and _names_rows(facts):
        return f"another value in every row{where}: {facts.examples()}"
    return None


def _names_rows(facts: ColumnFacts) -> bool:
    """Whether values that are all different are names: texts, and whole numbers that look so."""
    if facts.form != "numbers":
        return facts.form == "texts"
    return facts.integers and (facts.named_like_id or len(facts.known) >= 10 * FEW)


def _is_category(facts: ColumnFacts) -> bool:
    """Whether numbers are names of something."""
    return facts.distinct <= 2 or (facts.integers and facts.named_like_id)


def _numeric(facts: ColumnFacts, note: str, *, many_numbers: bool) -> DraftedFeature:
    section: Section = {"kind": "numeric"}
    if many_numbers and not facts.integers:
        section["transform"] = "log1p" if facts.is_skewed else "standardize"
        note += "; one input each, as there are many numbers"
    missing = list(facts.words)
    if facts.stored_text and not missing:
        missing = ["NA"]
    if facts.infinite:
        missing += ["inf", "-inf"]
        note += "; infinite values count as missing"
    if missing:
        section["null_values"] = missing
    return DraftedFeature(section, note)


def _of_ids(section: Section, facts: ColumnFacts, rows: int) -> Section:
    """With the encoding that the number of values needs."""
    if facts.distinct <= FEW:
        return section
    if facts.complete and facts.integers and facts.distinct >= DENSE_FROM:
        low, high = int(facts.numbers.min()), int(facts.numbers.max())
        if low >= 0 and high < 2 * facts.distinct:
            return section | {"encoding": "id", "rows": high + 1}
    later = facts.singles * max(rows - facts.rows, 0)
    if facts.distinct + later >= VERY_MANY:
        return section | {"encoding": "hash", "buckets": VERY_MANY}
    return _auto(section)


def _auto(section: Section) -> Section:
    return section | {"min_count": "auto", "dim": "auto"}


def _separator(facts: ColumnFacts) -> str | None:
    """What splits texts into entries that are far fewer than the texts."""
    if facts.distinct <= 3:
        return None
    texts, weights = facts.counts["value"], facts.counts["rows"]
    for separator in SEPARATORS:
        holds = texts.str.contains(separator, literal=True)
        if int(weights.filter(holds).sum()) < _LISTED * len(facts.known):
            continue
        entries = texts.str.split(separator).explode().str.strip_chars().n_unique()
        if 2 * entries <= facts.distinct:
            return separator
    return None
