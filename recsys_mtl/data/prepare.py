"""From a config to loaders: open, check, split, fit the preprocessing on train, encode.

Rows are read as seldom as possible: once to fit and once to encode, and once before where the split
is by a column. Streamed training rows are read again every epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import polars as pl
import torch

from recsys_mtl.columns.keys import keys_of
from recsys_mtl.columns.rows import ROW
from recsys_mtl.columns.weight import representative
from recsys_mtl.config.check import column_of, label_of
from recsys_mtl.config.recipe import DataSize, Derived, RecipeName, described, with_recipe
from recsys_mtl.config.schema import Config
from recsys_mtl.config.sizes import require_memory
from recsys_mtl.config.tables import sections_of, with_parts
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.blocks import Blocks
from recsys_mtl.data.lanes import LaneLoader
from recsys_mtl.data.leakage import LabelInfo, find_leaks
from recsys_mtl.data.loader import Loader
from recsys_mtl.data.loading import See, load_splits
from recsys_mtl.data.negatives import Negatives
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.parent import Parent, continued
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.raw import kept_rows, thinned
from recsys_mtl.data.splits import SPLITS, SplitName, Splits
from recsys_mtl.data.where import parse
from recsys_mtl.errors import UserError
from recsys_mtl.features.table import set_default_dim

log = logging.getLogger(__name__)
_LEAK_ROWS = 20_000
_EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class Prepared:
    """Everything a training needs of the data.

    Attributes:
        config: of the run, with what its recipe decided.
        derived: what that is, `section.key` -> value.
        splits: the raw rows, for callers that need other columns.
        preprocessor: fitted on the training rows; part of the model.
        loaders: one loader a split; train is shuffled, the others are in file order.
        fingerprint: sha256 of the sources' content.
        streamed: whether rows are read again every epoch instead of held in memory.
        warnings: suspicious data that is no error (leaks).
        example: a few raw training rows, features only.
        parent: the model that training starts from; None: random weights.
    """

    config: Config
    derived: Derived
    splits: Splits
    preprocessor: Preprocessor
    loaders: Mapping[SplitName, Loader]
    fingerprint: str
    streamed: bool
    warnings: list[str] = field(default_factory=list)
    example: pl.DataFrame = field(default_factory=pl.DataFrame)
    parent: Parent | None = None

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split, and "dropped"."""
        return dict(self.splits.counts)


class Sampler(Protocol):
    """Takes samples of the rows while they are prepared, which saves another reading.

    Rows are drawn by the run's seed from all over their split, by their weight.

    Attributes:
        train_rows: most training rows that it takes.
        valid_rows: most validation rows that it takes.
    """

    train_rows: int
    valid_rows: int

    def take_train(self, preprocessor: Preprocessor, rows: pl.DataFrame) -> None:
        """Raw training rows and the fitted preprocessor; once, before any row is encoded."""

    def take_valid(self, rows: Batch) -> None:
        """Encoded validation rows; once."""


def prepare(
    config: Config,
    sampler: Sampler | None = None,
    *,
    watch: Callable[[Preprocessor, int], See] | None = None,
    parent: Parent | None = None,
) -> Prepared:
    """Open the data, fit the preprocessing on the training rows and make the loaders.

    Args:
        config: the run.
        sampler: is given samples of the rows.
        watch: makes, from the preprocessor and the number of rows, what is shown each frame that is
            encoded here: all splits, but for training rows that are streamed. Not with a sampler.
        parent: the model that `training.warm_start` names.

    Raises:
        UserError: the network does not fit this machine; or the data contradict the config, all
            problems that one pass finds together.
    """
    require_memory(config)
    splits = open_splits(config)
    kept: list[pl.DataFrame] = []
    kept_count = max(_LEAK_ROWS, 0 if sampler is None else sampler.train_rows)
    counting = _Counting(Negatives.of(config), Blocks.of(splits.sources["train"]))
    preprocessor = Preprocessor.fit(
        _training_rows(config, splits, kept, kept_count, counting),
        config.features,
        config.tasks,
        weight=config.data.weight,
        default_dim=config.model.embedding.dim,
        keys=keys_of(config.evaluation.groups, config.evaluation.segments),
    )
    train_count, splits = splits.counts["train"], counting.applied(splits)
    rows_of_largest = max((table.rows for table in preprocessor.spec.tables), default=0)
    config, derived = with_recipe(
        config, DataSize(splits.counts["train"], rows_of_largest), _recipe(parent)
    )
    sections = sections_of(config.features)
    set_default_dim(preprocessor.features, sections, config.model.embedding.dim)
    if parent is not None:
        preprocessor = continued(config, preprocessor, parent)
    reads = preprocessor.spec.reads
    require_memory(config, {read.name: (read.rows, read.dim) for read in reads})
    _report(config, derived)
    train = pl.concat(kept, how="vertical_relaxed")
    del kept
    leak_share = min(_LEAK_ROWS, config.data.fit_rows) / train_count
    leak_rows = thinned(train, leak_share, config.seed)
    counted = leak_rows if preprocessor.weight is None else preprocessor.weight.counted(leak_rows)
    warnings = _leaks(config, preprocessor, counted)
    for warning in warnings:
        log.warning("%s", warning)
    example = leak_rows[preprocessor.columns(labels=False)].head(_EXAMPLE_ROWS)
    del leak_rows
    if sampler is None:
        del train
        see = None if watch is None else watch(preprocessor, sum(splits.counts[s] for s in SPLITS))
        loaders = load_splits(config, splits, preprocessor, see)
    else:
        chosen = train.head(sampler.train_rows)
        del train
        if preprocessor.weight is not None:
            chosen = preprocessor.weight.representative(chosen, config.seed)
        sampler.take_train(preprocessor, chosen)
        del chosen
        valid = _Chosen(sampler.valid_rows, splits.counts["valid"], config.seed)
        loaders = load_splits(config, splits, preprocessor, valid.see)
        sampler.take_valid(valid.rows())
    return Prepared(
        config=config,
        derived=derived,
        splits=splits,
        preprocessor=preprocessor,
        loaders=loaders,
        fingerprint=splits.fingerprint(),
        streamed=isinstance(loaders["train"], LaneLoader),
        warnings=warnings,
        example=example,
        parent=parent,
    )


def _recipe(parent: Parent | None) -> RecipeName | None:
    """The parent's recipe, which its network was shaped by."""
    recipe = None if parent is None else parent.config.training.recipe
    return None if recipe == "auto" else recipe


def _report(config: Config, derived: Derived) -> None:
    if derived:
        log.info("recipe %s decides %s", config.training.recipe, described(derived))


@dataclass
class _Counting:
    """Counts the training rows that are left by block, while all of them are read to fit."""

    negatives: Negatives | None
    blocks: Blocks

    def see(self, frame: pl.DataFrame) -> None:
        """Count a frame; one with a wrong label is left to the fit, which reports it."""
        with suppress(UserError):
            left = frame if self.negatives is None else self.negatives.thinned(frame)
            self.blocks.count(left[ROW])

    def applied(self, splits: Splits) -> Splits:
        """The splits with thinned training rows, and where these lie."""
        if self.negatives is not None:
            every, kept = splits.counts["train"], int(self.blocks.counts.sum())
            log.info("data.negatives keeps %s of %s training rows", f"{kept:,}", f"{every:,}")
            splits = splits.thinned(self.negatives, kept)
        return replace(splits, blocks=self.blocks)


def _training_rows(
    config: Config,
    splits: Splits,
    kept: list[pl.DataFrame],
    kept_count: int,
    counting: _Counting,
) -> Iterator[pl.DataFrame]:
    """The training rows that are fitted on; about `kept_count` of all are put into `kept`."""
    count = splits.counts["train"]
    for frame in splits.frames("train", _raw_columns(config)):
        counting.see(frame)
        kept.append(thinned(frame, kept_count / count, config.seed))
        yield thinned(frame, config.data.fit_rows / count, config.seed)


@dataclass
class _Chosen:
    """Encoded validation rows: at most `limit` out of `count`."""

    limit: int
    count: int
    seed: int
    _parts: list[Batch] = field(default_factory=list)

    def see(self, split: SplitName, frame: pl.DataFrame, batch: Batch) -> None:
        """Choose from rows that were encoded."""
        if split == "valid":
            chosen = kept_rows(frame, self.limit / self.count, self.seed)
            self._parts.append(batch.select(torch.from_numpy(np.flatnonzero(chosen))))

    def rows(self) -> Batch:
        """All that were chosen."""
        together = concat(self._parts)
        weights = together.weights.numpy()[: self.limit]
        return together.select(torch.from_numpy(representative(weights, self.seed)))


def _raw_columns(config: Config) -> list[str]:
    """Every raw column that fitting reads, once each."""
    columns = [column_of(name, feature) for name, _, feature in with_parts(config.features)]
    for name, task in config.tasks.items():
        columns.append(label_of(name, task))
        if task.only_where is not None:
            columns += sorted(parse(task.only_where, f"tasks.{name}.only_where").columns)
    if config.data.weight:
        columns.append(config.data.weight)
    columns += config.evaluation.keys
    return list(dict.fromkeys(columns))


def _leaks(config: Config, preprocessor: Preprocessor, sample: pl.DataFrame) -> list[str]:
    return find_leaks(
        sample,
        {name: feature.feature_kind for name, _, feature in with_parts(config.features)},
        {
            name: LabelInfo(
                label.kind,
                label.column,
                label.events,
                tuple(label.null_values),
                preprocessor.conditions.get(name),
            )
            for name, label in preprocessor.labels.items()
        },
        config.data.leakage_threshold,
        {name: column_of(name, feature) for name, _, feature in with_parts(config.features)},
    )
