"""From a table and the names of its labels to the text of a config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import polars as pl

from recsys_mtl.columns.facts import ColumnFacts, words_of
from recsys_mtl.config import config_from_yaml
from recsys_mtl.config.data import DataConfig
from recsys_mtl.config.section import NAME_PATTERN
from recsys_mtl.data.leakage import LabelInfo, find_leaks
from recsys_mtl.draft.page import Line, page
from recsys_mtl.draft.sample import TableSample, read_sample
from recsys_mtl.draft.split import NEW, DraftedSplit, drafted_split, new_to_the_newest
from recsys_mtl.errors import Problem, UserError, did_you_mean, wrong
from recsys_mtl.features.draft import MANY_NUMBERS, DraftedFeature, drafted_feature, unusable
from recsys_mtl.storage.location import Location
from recsys_mtl.tasks.draft import DraftedTask, drafted_task

_LEAK_ROWS = 20_000
_CANDIDATES = 8
_OUTCOMES = frozenset({
    "attrition", "bought", "buy", "churn", "churned", "click", "clicked", "clicks", "conversion",
    "convert", "converted", "ctr", "cvr", "default", "exited", "follow", "fraud", "income", "label",
    "like", "liked", "ltv", "outcome", "purchase", "purchased", "responded", "response", "revenue",
    "share", "spend", "subscribe", "subscribed", "target", "view", "visit", "y",
})  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """A drafted config.

    Attributes:
        text: YAML with comments; it loads.
        features: how many.
        tasks: how many.
        ignored: columns that are not used, and why.
        split: its kind.
        read: in words, which rows were read.
    """

    text: str
    features: int
    tasks: int
    ignored: dict[str, str]
    split: str
    read: str


def draft(
    table: str,
    labels: Sequence[str],
    *,
    root: Location,
    path: str | None = None,
    group: str | None = None,
    csv: Sequence[str] = (),
    by_time: bool = True,
) -> Draft:
    """A run's config for a table.

    Args:
        table: file, folder, glob or URI, as `data.path`.
        labels: columns of labels, in the order of the tasks.
        root: what relative paths start from.
        path: what the config says instead of `table`.
        group: column whose equal values stay in one split.
        csv: settings of `data.csv`.
        by_time: whether what goes with the time is left out, where the draft splits by it.

    Raises:
        UserError: the table cannot be read, or has no such labels or none are named, or a label
            cannot be one.
    """
    sample = read_sample(table, root, csv=csv)
    columns = sample.columns
    labels = [*dict.fromkeys(labels)]
    tasks = _tasks(sample, labels, table)
    split = drafted_split(columns, labels, group)
    split = split if by_time else split._replace(newest=None)
    features, ignored = _features(sample, labels, tasks, split)
    if not features:
        found = "; ".join(f"'{name}' ({why})" for name, why in [*ignored.items()][:4])
        raise wrong("no column can be a feature", where=table, found=found or "labels alone")
    settings = {} if sample.csv is None else sample.csv.model_dump(exclude_defaults=True)
    text = page(
        name=_name(PurePath(table).name.split(".")[0], "run"),
        command=_command(table, labels, group, csv),
        read=sample.read,
        data=[
            Line("path", path or table),
            *([Line("csv", settings)] if settings else []),
            Line("split", split.section, split.note),
        ],
        ignore=[Line("", name, why) for name, why in ignored.items()],
        features=_feature_lines(features),
        tasks=_task_lines(tasks),
    )
    config_from_yaml(text, where="the draft")
    kind = split.section["kind"]
    return Draft(text, len(features), len(tasks), ignored, kind, sample.read)


def _tasks(sample: TableSample, labels: list[str], table: str) -> dict[str, DraftedTask]:
    """Label column → its task."""
    columns = sample.columns
    if not labels:
        likely = ", ".join(candidates(columns)) or "none"
        expected = "--label COLUMN, once a task"
        raise wrong("no label", where=table, expected=expected, found=f"columns like one: {likely}")
    tasks: dict[str, DraftedTask] = {}
    problems: list[Problem] = []
    for label in labels:
        if label in columns:
            try:
                tasks[label] = drafted_task(columns[label])
            except UserError as error:
                problems += error.problems
            continue
        fix, found = did_you_mean(label, columns), sample.unread.get(label, "")
        what = "this column cannot be read" if found else "no such column"
        problems.append(Problem(what, f"--label {label}", found=found, fix="" if found else fix))
    if problems:
        raise UserError(*problems)
    return tasks


def candidates(columns: Mapping[str, ColumnFacts]) -> list[str]:
    """Columns that may be labels, the likeliest first: by name, then those of two values."""
    scores = {}
    for name, facts in columns.items():
        named = not _OUTCOMES.isdisjoint(words_of(name))
        two = facts.form in ("booleans", "numbers", "texts") and facts.distinct == 2
        if facts.form in ("booleans", "numbers", "texts") and (
            two or (named and facts.distinct > 1)
        ):
            scores[name] = 2 * named + two
    return sorted(scores, key=lambda name: -scores[name])[:_CANDIDATES]


def _features(
    sample: TableSample, labels: list[str], tasks: Mapping[str, DraftedTask], split: DraftedSplit
) -> tuple[dict[str, DraftedFeature], dict[str, str]]:
    """Features by column, and why the other columns are none."""
    columns = sample.columns
    ignored = {name: f"cannot be read: {why}" for name, why in sample.unread.items()}
    numbers = sum(facts.form == "numbers" for facts in columns.values())
    features = {}
    for name, facts in columns.items():
        if name in labels or name == split.column:
            continue
        why = unusable(facts) or _renewed(facts, split)
        if why is None:
            many = numbers >= MANY_NUMBERS
            feature = drafted_feature(facts, rows=sample.rows, many_numbers=many)
            if not _OUTCOMES.isdisjoint(words_of(name)):
                feature = feature._replace(note=f"{feature.note}; is it known before the labels?")
            features[name] = feature
        else:
            ignored[name] = why
    for name, why in _leaks(sample, features, tasks).items():
        del features[name]
        ignored[name] = why
    order = [*columns, *sample.unread]
    return features, {name: ignored[name] for name in sorted(ignored, key=order.index)}


def _renewed(facts: ColumnFacts, split: DraftedSplit) -> str | None:
    """Why a model cannot use the column of newer rows."""
    if split.newest is None:
        return None
    share = new_to_the_newest(facts, split.newest)
    if share < NEW:
        return None
    return f"goes with the time: {share:.0%} of the newest rows' values are new"


def _leaks(
    sample: TableSample, features: Mapping[str, DraftedFeature], tasks: Mapping[str, DraftedTask]
) -> dict[str, str]:
    """Features that alone almost determine a label, and which."""
    every = max(1, -(-sample.frame.height // _LEAK_ROWS))
    names = [*features, *tasks]
    frame = pl.DataFrame({name: sample.columns[name].values for name in names}).gather_every(every)
    infos = {
        label: LabelInfo(task.section["kind"], label, task.positives, task.null_values)
        for label, task in tasks.items()
    }
    threshold = float(DataConfig.model_fields["leakage_threshold"].default)
    kinds = {name: feature.section["kind"] for name, feature in features.items()}
    warnings = find_leaks(frame, kinds, infos, threshold)
    leaks: dict[str, str] = {}
    for name in features:
        start = f"feature '{name}' "
        for warning in warnings:
            if warning.startswith(start):
                why = warning.removeprefix(start).partition(": if it is not known")[0]
                leaks.setdefault(name, f"{why}: known only after it?")
    return leaks


def _command(table: str, labels: Sequence[str], group: str | None, csv: Sequence[str]) -> list[str]:
    options = [("--label", label) for label in labels]
    options += [] if group is None else [("--group", group)]
    options += [("--csv", setting) for setting in csv]
    return [table, *(word for option in options for word in option)]


def _feature_lines(features: Mapping[str, DraftedFeature]) -> list[Line]:
    """A name that is a pattern, or has signs that others take for more, is of a column."""
    lines = []
    for column, (section, note) in features.items():
        if any(sign in column for sign in "*?"):
            name = _unused(re.sub(r"[*?]", "_", column), features)
            lines.append(Line(name, {"kind": section["kind"], "column": column} | section, note))
        else:
            lines.append(Line(column, section, note))
    return lines


def _task_lines(tasks: Mapping[str, DraftedTask]) -> list[Line]:
    lines: list[Line] = []
    for label, task in tasks.items():
        name = _unused(_name(label, "task"), [*(line.key for line in lines), "shared"])
        section: dict[str, Any] = {"kind": task.section["kind"]}
        section |= {} if name == label else {"label": label}
        lines.append(Line(name, section | task.section, task.note))
    return lines


def _name(text: str, otherwise: str) -> str:
    """A text as a name in a config."""
    plain = re.sub(r"[^A-Za-z0-9_.\-]+", "_", text).strip("_.-") or otherwise
    plain = plain if text != text.strip("_.-") or re.match(NAME_PATTERN, plain) else f"_{plain}"
    return plain if re.match(NAME_PATTERN, plain) else f"_{plain}"


def _unused(name: str, names: Mapping[str, Any] | Sequence[str]) -> str:
    while name in names:
        name += "_"
    return name
