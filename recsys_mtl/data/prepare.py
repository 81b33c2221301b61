"""From a config to loaders: open, check, split, fit the preprocessing on train, encode.

`prepare` is the whole road; `open_splits` is its first half, shared with jobs that bring a fitted
preprocessor (evaluate).
"""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recsys_mtl.config.check import label_of
from recsys_mtl.config.data import GroupSplitConfig, TimeSplitConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tasks import BinaryConfig
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.leakage import LabelInfo, find_leaks
from recsys_mtl.data.loader import Loader, MemoryLoader, StreamLoader
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.source import Source
from recsys_mtl.data.splits import SPLITS, SplitName, Splits, distinct, open_sources, thinned
from recsys_mtl.data.where import check as check_condition
from recsys_mtl.data.where import parse
from recsys_mtl.errors import Problem, UserError, did_you_mean
from recsys_mtl.features.registry import KINDS
from recsys_mtl.tasks.binary import BinaryLabel

log = logging.getLogger(__name__)
_LEAK_ROWS = 20_000
_EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class Prepared:
    """Everything a training needs of the data.

    Attributes:
        preprocessor: fitted on the training rows; part of the model.
        loaders: one loader a split; train is shuffled, the others are in file order.
        rows: rows of each split, and "dropped".
        fingerprint: sha256 of the sources' content.
        streamed: whether rows are read again every epoch instead of held in memory.
        warnings: what looks wrong without being an error (leaks).
        example: a few raw training rows, features only.
    """

    preprocessor: Preprocessor
    loaders: Mapping[SplitName, Loader]
    rows: dict[str, int]
    fingerprint: str
    streamed: bool
    warnings: list[str] = field(default_factory=list)
    example: pl.DataFrame = field(default_factory=pl.DataFrame)


def data_root(config: Config) -> Path:
    """The folder that relative data paths start from."""
    return Path(config.data.root or os.environ.get("RECSYS_MTL_DATA") or ".")


def open_splits(config: Config) -> Splits:
    """Open the run's sources and check their columns against the config.

    Raises:
        UserError: every unknown, missing or unmentioned column, together.
    """
    reads = {name: KINDS[feature.kind].reads for name, feature in config.features.items()}
    text = {name for name, as_what in reads.items() if as_what == "text"}
    numbers = {name for name, as_what in reads.items() if as_what == "numbers"}
    for name, task in config.tasks.items():
        column = label_of(name, task)
        if task.kind == "regression":
            numbers.add(column)
        elif not isinstance(task, BinaryConfig) or task.positive is not None:
            text.add(column)
    if config.data.weight:
        numbers.add(config.data.weight)
    sources = open_sources(config.data, data_root(config), text=text, numbers=numbers)
    for source in distinct(sources):
        problems = _column_problems(config, source)
        if problems:
            raise UserError(*problems)
    return Splits.of(sources, config.data.split, config.seed)


def prepare(config: Config) -> Prepared:
    """Open the data, fit the preprocessing on the training rows and make the loaders.

    Raises:
        UserError: the data contradict the config; all problems that one pass finds, together.
    """
    splits = open_splits(config)
    kept: list[pl.DataFrame] = []
    fitted_on = splits.sample("train", _raw_columns(config), config.data.fit_rows)
    preprocessor = Preprocessor.fit(
        _keeping(fitted_on, kept, _LEAK_ROWS / splits.counts["train"], config.seed),
        config.features,
        config.tasks,
        weight=config.data.weight,
        default_dim=config.model.embedding.dim,
    )
    sample = pl.concat(kept, how="vertical_relaxed")
    warnings = _leaks(config, preprocessor, sample)
    for warning in warnings:
        log.warning("%s", warning)
    loaders, streamed = make_loaders(config, splits, preprocessor)
    if streamed:
        _read_through(loaders["valid"], loaders["test"])
    return Prepared(
        preprocessor=preprocessor,
        loaders=loaders,
        rows=dict(splits.counts),
        fingerprint=fingerprint(splits),
        streamed=streamed,
        warnings=warnings,
        example=sample.select(preprocessor.columns(labels=False)).head(_EXAMPLE_ROWS),
    )


def make_loaders(
    config: Config, splits: Splits, preprocessor: Preprocessor, only: tuple[SplitName, ...] = SPLITS
) -> tuple[dict[SplitName, Loader], bool]:
    """A loader for each of the given splits, and whether they stream."""
    columns = preprocessor.columns(labels=True)
    own, size = config.training.shuffle_seed, config.training.batch_size
    seed = config.seed if own is None else own
    if not _must_stream(config, splits, preprocessor, only):
        encoded: dict[SplitName, list[Batch]] = {split: [] for split in only}
        for split, frame in splits.walk(columns, only):
            encoded[split].append(preprocessor.encode(frame))
        return {
            split: MemoryLoader(
                concat(encoded.pop(split)), batch_size=size, shuffle=split == "train", seed=seed
            )
            for split in only
        }, False

    def stream(split: SplitName) -> Loader:
        def batches() -> Iterator[Batch]:
            return (preprocessor.encode(frame) for frame in splits.frames(split, columns))

        return StreamLoader(
            batches,
            num_rows=splits.counts[split],
            batch_size=size,
            shuffle_buffer=config.data.shuffle_buffer if split == "train" else 0,
            seed=seed,
        )

    return {split: stream(split) for split in only}, True


def fingerprint(splits: Splits) -> str:
    """One name for the content of all sources."""
    return "-".join(dict.fromkeys(s.fingerprint() for s in distinct(splits.sources)))


def _read_through(*loaders: Loader) -> None:
    """Find wrong held-out rows now, not after the training (memory loaders have read theirs)."""
    for loader in loaders:
        for _ in loader.epoch(0):
            pass


def _must_stream(
    config: Config, splits: Splits, preprocessor: Preprocessor, only: tuple[SplitName, ...]
) -> bool:
    if config.data.loading != "auto":
        return config.data.loading == "stream"
    sample = next(splits.frames(only[0], preprocessor.columns(labels=True))).head(1000)
    bytes_per_row = preprocessor.encode(sample).num_bytes / sample.height
    total = bytes_per_row * sum(splits.counts[split] for split in only)
    streams = total > config.data.memory_limit_mb * 2**20
    log.info(
        "encoded rows take %.0f MB: %s", total / 2**20, "streamed" if streams else "held in memory"
    )
    return streams


def _raw_columns(config: Config) -> list[str]:
    """Every raw column that fitting reads, once each."""
    columns = [*config.features]
    for name, task in config.tasks.items():
        columns.append(label_of(name, task))
        if task.only_where is not None:
            columns += sorted(parse(task.only_where, f"tasks.{name}.only_where").columns)
    if config.data.weight:
        columns.append(config.data.weight)
    return list(dict.fromkeys(columns))


def _column_problems(config: Config, source: Source) -> list[Problem]:
    """Columns that the config names and the source lacks, and the other way round."""
    found = list(source.columns)
    wanted = [(name, f"features.{name}") for name in config.features]
    wanted += [(label_of(name, task), f"tasks.{name}.label") for name, task in config.tasks.items()]
    if config.data.weight:
        wanted.append((config.data.weight, "data.weight"))
    split = config.data.split
    if isinstance(split, GroupSplitConfig | TimeSplitConfig):
        wanted.append((split.column, "data.split.column"))
    problems = [
        Problem(
            "missing column",
            where,
            f"a column '{column}'",
            f"none in {source.where}",
            did_you_mean(column, found),
        )
        for column, where in wanted
        if column not in found
    ]
    used = {column for column, _ in wanted}
    for name, task in config.tasks.items():
        if task.only_where is None:
            continue
        where = f"tasks.{name}.only_where"
        try:
            condition = parse(task.only_where, where)
            check_condition(condition, found, where)
        except UserError as error:
            problems += error.problems
        else:
            used |= set(condition.columns)
    unused = [
        c
        for c in found
        if c not in used and not any(fnmatch.fnmatchcase(c, p) for p in config.data.ignore)
    ]
    if unused:
        problems.append(
            Problem(
                "columns not mentioned",
                source.where,
                "every column to be a feature, a label or listed in data.ignore",
                ", ".join(unused),
                "add them to data.ignore if they are not to be used",
            )
        )
    return problems


def _keeping(
    frames: Iterator[pl.DataFrame], kept: list[pl.DataFrame], share: float, seed: int
) -> Iterator[pl.DataFrame]:
    """The same frames; a share of their rows is kept aside."""
    for frame in frames:
        kept.append(thinned(frame, share, seed))
        yield frame


def _leaks(config: Config, preprocessor: Preprocessor, sample: pl.DataFrame) -> list[str]:
    return find_leaks(
        sample,
        {name: feature.kind for name, feature in config.features.items()},
        {
            name: LabelInfo(
                label.kind,
                label.column,
                label.positive if isinstance(label, BinaryLabel) else None,
                tuple(label.null_values),
                preprocessor.conditions.get(name),
            )
            for name, label in preprocessor.labels.items()
        },
        config.data.leakage_threshold,
    )
