"""From a config to loaders: open, check, split, fit the preprocessing on train, encode.

Rows are read as seldom as possible: once to fit and once to encode, and once before where the split
is by a column. Streamed training rows are read again every epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import polars as pl
import torch

from recsys_mtl import parallel
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
from recsys_mtl.data.fitting import Fitting
from recsys_mtl.data.lanes import LaneLoader
from recsys_mtl.data.large_vocabularies import LargeVocabularies
from recsys_mtl.data.leakage import LabelInfo, find_leaks
from recsys_mtl.data.loader import Loader
from recsys_mtl.data.loading import See, load_splits
from recsys_mtl.data.negatives import Negatives
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.parent import Parent, continued
from recsys_mtl.data.prefetch import prefetched
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.raw import kept_rows, thinned
from recsys_mtl.data.splits import SPLITS, SplitName, Splits
from recsys_mtl.data.unknown_share import UnknownShare
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
        loaders: one loader a split; train is shuffled, the others are in file order.
        streamed: whether rows are read again every epoch instead of held in memory.
        fitting: what was learned from the training rows.
        unknown: share of the validation rows' ids that are unknown, by feature.
        parent: the model that training starts from; None: random weights.
    """

    config: Config
    derived: Derived
    splits: Splits
    loaders: Mapping[SplitName, Loader]
    streamed: bool
    fitting: Fitting
    unknown: Mapping[str, float]
    parent: Parent | None = None

    @property
    def preprocessor(self) -> Preprocessor:
        """Fitted on the training rows; part of the model."""
        return self.fitting.preprocessor

    @property
    def fingerprint(self) -> str:
        """sha256 of the sources' content."""
        return self.fitting.fingerprint

    @property
    def warnings(self) -> list[str]:
        """Suspicious data that is no error (leaks)."""
        return self.fitting.warnings

    @property
    def example(self) -> pl.DataFrame:
        """A few raw training rows, features only."""
        return self.fitting.example

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
    fitting: Fitting | None = None,
) -> Prepared:
    """Open the data, fit the preprocessing on the training rows and make the loaders.

    Of several processes rank 0 fits, and each has its own share of the rows; the sampler is
    that of rank 0.

    Args:
        config: the run.
        sampler: is given samples of the rows.
        watch: makes, from the preprocessor and the number of rows, what is shown each frame that is
            encoded here: all splits, but for training rows that are streamed. Not with a sampler.
        parent: the model that `training.warm_start` names.
        fitting: of an earlier call with the same config and data; nothing is fitted then, and the
            sampler is given no training rows.

    Raises:
        UserError: the network does not fit this machine; or the data contradict the config, all
            problems that one pass finds together, or are not those of `fitting`.
    """
    processes, local = parallel.world(), parallel.local_world()
    require_memory(config, processes=processes, local=local)
    splits = parallel.together(partial(open_splits, config))
    if fitting is None:
        fitting = _fitted_once(config, splits, sampler, parent)
    else:
        fitting.require_same(splits)
    splits = _Counting(Negatives.of(config), fitting.blocks).applied(splits)
    config, derived = with_recipe(config, fitting.size, fitting.recipe)
    preprocessor = fitting.preprocessor
    reads = preprocessor.spec.reads
    fitted = {read.name: (read.rows, read.dim) for read in reads}
    require_memory(config, fitted, processes=processes, local=local)
    _report(config, derived)
    if (left_out := splits.counts.get("negatives_left_out")) is not None:
        kept = splits.counts["train"]
        log.info("data.negatives keeps %s of %s training rows", f"{kept:,}", f"{kept + left_out:,}")
    for warning in fitting.warnings:
        log.warning("%s", warning)
    unknown = UnknownShare(preprocessor)
    seers: list[See] = [unknown.see]
    if watch is not None:
        seers.append(watch(preprocessor, sum(splits.counts[s] for s in SPLITS)))
    valid = None
    if sampler is not None:
        valid = _Chosen(sampler.valid_rows, splits.counts["valid"], config.seed)
        seers.append(valid.see)
    loaders = _loaders(config, splits, preprocessor, _each(seers))
    if sampler is not None and valid is not None:
        sampler.take_valid(valid.rows())
    unknown.report(config.data.fit_rows, splits.counts["train"])
    return Prepared(
        config=config,
        derived=derived,
        splits=splits,
        loaders=loaders,
        streamed=isinstance(loaders["train"], LaneLoader),
        fitting=fitting,
        unknown=unknown.shares,
        parent=parent,
    )


def _each(seers: Iterable[See]) -> See:
    """Shows rows to each."""

    def see(split: SplitName, frame: pl.DataFrame, batch: Batch) -> None:
        for shown in seers:
            shown(split, frame, batch)

    return see


def _loaders(
    config: Config, splits: Splits, preprocessor: Preprocessor, see: See
) -> dict[SplitName, Loader]:
    """This process' share of the rows."""
    rank, world = parallel.rank(), parallel.world()
    load = partial(load_splits, config, splits, preprocessor, see, rank=rank, world=world)
    return parallel.together(load)


def _fitted_once(
    config: Config, splits: Splits, sampler: Sampler | None, parent: Parent | None
) -> Fitting:
    """What rank 0 learns of the training rows."""
    fitting = parallel.on_first(partial(_fit, config, splits, sampler, parent))
    if not parallel.several():
        assert fitting is not None
        return fitting
    files = parallel.broadcast_files(None if fitting is None else fitting.to_files())

    def same() -> Fitting:
        own = Fitting.from_files(files) if fitting is None else fitting
        own.require_same(splits, "data.path")
        return own

    return parallel.together(same)


def _fit(config: Config, splits: Splits, sampler: Sampler | None, parent: Parent | None) -> Fitting:
    """Fit on the training rows, and take samples of them, in one pass."""
    kept: list[pl.DataFrame] = []
    kept_count = max(_LEAK_ROWS, 0 if sampler is None else sampler.train_rows)
    counting = _Counting(Negatives.of(config), Blocks.of(splits.sources["train"]))
    large = LargeVocabularies(config, splits.counts["train"])
    with closing(prefetched(splits.frames("train", _raw_columns(config)))) as frames:
        preprocessor = Preprocessor.fit(
            _fitted_on(config, splits, frames, kept, kept_count, (counting.see, large.see)),
            config.features,
            config.tasks,
            weight=config.data.weight,
            default_dim=config.model.embedding.dim,
            keys=keys_of(config.evaluation.groups, config.evaluation.segments),
        )
    large.count(splits, preprocessor)
    count = splits.counts["train"]
    left = counting.applied(splits).counts["train"]
    size = DataSize(left, max((table.rows for table in preprocessor.spec.tables), default=0))
    recipe = _recipe(parent)
    config, _ = with_recipe(config, size, recipe)
    sections = sections_of(config.features)
    set_default_dim(preprocessor.features, sections, config.model.embedding.dim)
    if parent is not None:
        preprocessor = continued(config, preprocessor, parent)
    train = pl.concat(kept, how="vertical_relaxed")
    del kept
    leak_rows = thinned(train, min(_LEAK_ROWS, config.data.fit_rows) / count, config.seed)
    counted = leak_rows if preprocessor.weight is None else preprocessor.weight.counted(leak_rows)
    fitting = Fitting(
        preprocessor=preprocessor,
        fingerprint=splits.fingerprint(),
        size=size,
        recipe=recipe,
        blocks=counting.blocks,
        warnings=_leaks(config, preprocessor, counted, leak_rows.height < count),
        example=leak_rows[preprocessor.columns(labels=False)].head(_EXAMPLE_ROWS),
    )
    del leak_rows, counted
    if sampler is not None:
        chosen = train.head(sampler.train_rows)
        del train
        if preprocessor.weight is not None:
            chosen = preprocessor.weight.representative(chosen, config.seed)
        sampler.take_train(preprocessor, chosen)
    return fitting


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
            kept = int(self.blocks.counts.sum())
            splits = splits.thinned(self.negatives, kept)
        return replace(splits, blocks=self.blocks)


def _fitted_on(
    config: Config,
    splits: Splits,
    frames: Iterable[pl.DataFrame],
    kept: list[pl.DataFrame],
    kept_count: int,
    seers: Iterable[Callable[[pl.DataFrame], None]],
) -> Iterator[pl.DataFrame]:
    """The training rows that are fitted on; about `kept_count` of all are put into `kept`."""
    count = splits.counts["train"]
    for frame in frames:
        for see in seers:
            see(frame)
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


def _leaks(
    config: Config, preprocessor: Preprocessor, sample: pl.DataFrame, sampled: bool
) -> list[str]:
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
        sampled=sampled,
    )
