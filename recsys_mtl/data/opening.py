"""From a config to raw rows: its own data with their split, or all rows of other files."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from recsys_mtl.columns.numbers import are_numbers
from recsys_mtl.config.check import column_of, label_of
from recsys_mtl.config.csv import with_settings
from recsys_mtl.config.data import GroupSplitConfig, TimeSplitConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tables import with_parts
from recsys_mtl.config.yaml_text import dotted
from recsys_mtl.data.raw import RawRows
from recsys_mtl.data.source import Source
from recsys_mtl.data.splits import Splits, distinct, open_sources
from recsys_mtl.data.where import check as check_condition
from recsys_mtl.data.where import parse
from recsys_mtl.errors import Problem, UserError, did_you_mean
from recsys_mtl.features.registry import csv_columns, features_of
from recsys_mtl.storage.location import Location, is_uri, located


def data_root(config: Config, root: str | Path | None = None) -> Location:
    """The folder that relative data paths start from; `root` where it is given."""
    return located(root or config.data.root or os.environ.get("RECSYS_MTL_DATA") or ".")


def table_root(table: str, root: str | Path | None = None) -> tuple[Location, str]:
    """Where a table's relative path starts, as `data_root` without a config, and the path.

    A path that is not there but in the working folder becomes absolute.
    """
    start = located(root or os.environ.get("RECSYS_MTL_DATA") or ".")
    if root is None and not is_uri(table):
        here = Path(table).expanduser()
        if here.exists() and not located(table, start).exists():
            return start, str(here.absolute())
    return start, table


def open_splits(
    config: Config, *, run: Config | None = None, root: str | Path | None = None
) -> Splits:
    """Open a run's sources, split them and check their columns against the config.

    Args:
        config: which columns there have to be.
        run: whose data and split these are, if they are not the config's own. Columns that the
            config does not mention are no harm then.
        root: folder that relative paths start from, if it is not the run's.

    Raises:
        UserError: every unknown, missing or unmentioned column, together; or the sources cannot be
            opened or split.
    """
    whose = run or config
    columns = _Columns.of(config)
    of_split = _of_split(whose)
    sources = open_sources(
        whose.data,
        data_root(whose, root),
        text=columns.text,
        numbers=columns.numbers,
        inferred=columns.inferred | {column for column, _ in of_split},
    )
    wanted = columns.wanted + of_split
    for source in distinct(sources):
        _require_columns(config, source, wanted, others=run is not None)
    splits = Splits.of(sources, whose.data.split, whose.seed)
    return replace(splits, label_shares=_label_shares(config))


def _label_shares(config: Config) -> dict[str, float]:
    """By label column, where it is not 1."""
    shares = {label_of(name, task): task.label_share for name, task in config.tasks.items()}
    return {column: share for column, share in shares.items() if share < 1.0}


def open_rows(
    config: Config,
    paths: str | list[str],
    *,
    root: str | Path,
    run: Config | None = None,
    csv: Sequence[str] = (),
) -> RawRows:
    """Open all rows of some files, which need not be split and may have any other columns.

    Args:
        config: which columns there have to be.
        paths: as `data.path`.
        root: folder that relative paths start from.
        run: whose `data.format` and `data.csv` the files have, if they are not the config's.
        csv: settings that differ from that `data.csv`; files of any name are CSV then.

    Raises:
        UserError: the files cannot be opened; every column that the config names and they lack.
    """
    columns = _Columns.of(config)
    source = Source.open(
        paths,
        root=located(root),
        fmt="csv" if csv else (run or config).data.format,
        text_columns=columns.text,
        number_columns=columns.numbers,
        inferred_columns=columns.inferred,
        csv=with_settings((run or config).data.csv, csv),
    )
    _require_columns(config, source, columns.wanted, others=True)
    return RawRows.of(source)


@dataclass(frozen=True)
class _Columns:
    """Raw columns that a config names.

    Attributes:
        wanted: (column, path in the config) of features, labels, the weight, groups and segments.
        text: those that a CSV file's values are read as text from.
        numbers: those that a CSV file's values are read as float64 from.
        inferred: those of conditions, whose type a CSV file's values decide.
    """

    wanted: list[tuple[str, str]]
    text: frozenset[str]
    numbers: frozenset[str]
    inferred: frozenset[str]

    @classmethod
    def of(cls, config: Config) -> _Columns:
        wanted = [(column_of(n, f), dotted(at)) for n, at, f in with_parts(config.features)]
        text, numbers = csv_columns(features_of(config.features))
        words = text & numbers
        inferred: set[str] = set()
        for name, task in config.tasks.items():
            column = label_of(name, task)
            wanted.append((column, f"tasks.{name}.label"))
            (numbers if task.label_type == "number" else text).add(column)
            if task.label_type == "number" and not are_numbers(task.null_values):
                words.add(column)
            if task.only_where is not None:
                with suppress(UserError):  # reported with the missing columns
                    inferred |= {*parse(task.only_where, "").columns}
        if config.data.weight:
            wanted.append((config.data.weight, "data.weight"))
            numbers.add(config.data.weight)
        for column in config.evaluation.keys:
            role = "groups" if column == config.evaluation.groups else "segments"
            wanted.append((column, f"evaluation.{role}"))
            text.add(column)
        text = text - numbers | words
        return cls(wanted, frozenset(text), frozenset(numbers), frozenset(inferred))


def _of_split(run: Config) -> list[tuple[str, str]]:
    split = run.data.split
    if isinstance(split, GroupSplitConfig | TimeSplitConfig):
        return [(split.column, "data.split.column")]
    return []


def _require_columns(
    config: Config, source: Source, wanted: list[tuple[str, str]], *, others: bool
) -> None:
    """Raise all columns that the config names and the source lacks, and the other way round.

    Args:
        config: of the columns.
        source: what was opened.
        wanted: columns that have to be there, and where the config names them.
        others: whether columns that the config does not mention are no harm.
    """
    columns = list(source.columns)
    problems = [
        Problem(
            "missing column",
            where,
            f"a column '{column}'",
            f"none in {source.where}",
            did_you_mean(column, columns),
        )
        for column, where in wanted
        if column not in columns
    ]
    used = {column for column, _ in wanted}
    shares = _label_shares(config)
    for name, task in config.tasks.items():
        if task.only_where is None:
            continue
        where = f"tasks.{name}.only_where"
        try:
            condition = parse(task.only_where, where)
            check_condition(condition, columns, where)
        except UserError as error:
            problems += error.problems
        else:
            used |= set(condition.columns)
            problems += [
                Problem(
                    f"a condition reads '{column}', of which label_share drops labels", where,
                    "no condition on such a column", fix="leave label_share out",
                )
                for column in sorted(shares.keys() & set(condition.columns))
            ]  # fmt: skip
    problems += source.problems(c for c in columns if c in used)
    ignored = ["*"] if others else [*config.data.ignore, *map(str.strip, config.data.ignore)]
    unused = [
        column
        for column in columns
        if column not in {*used, *ignored}
        and not any(fnmatch.fnmatchcase(column, pattern) for pattern in ignored)
    ]
    if unused:
        problems.append(
            Problem(
                "columns not mentioned",
                source.where,
                "every column to be a feature, a label or listed in data.ignore",
                ", ".join(c or "''" for c in unused),
                "add them to data.ignore if they are not to be used",
            )
        )
    if problems:
        raise UserError(*problems)
