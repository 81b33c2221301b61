"""`Preprocessor`: raw frames into `Batch`es, and network outputs into columns.

It is fitted on training rows and is part of the model: prediction takes raw columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.keys import Key, key_from_dict
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.columns.weight import Weight
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.where import Condition, parse
from recsys_mtl.errors import Problem, UserError, did_you_mean
from recsys_mtl.features.block import ItemIds
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.registry import blocks_of, features_of, in_order
from recsys_mtl.features.table import features_by_table, restored, stored, stored_vocabularies
from recsys_mtl.tasks import Label, kind_of
from recsys_mtl.tasks.label import Labels

FIT_ROWS = 65_536
"""Rows that a fit takes at a time, however the source cuts its frames: results never depend on
the cut."""
_WEIGHT = 1_000_000  # of the weight's problem: after those of all columns


@dataclass(frozen=True)
class Preprocessor:
    """Encoders of a run's columns, in the order of its configuration.

    Attributes:
        features: encoder of each feature.
        labels: encoder of each task's label, by task name.
        conditions: sample space (`only_where`) of the tasks that have one, by task name.
        weight: row weights; None gives every row the weight 1. A row of weight 0 is unlabelled.
        keys: columns that evaluation groups rows by.
    """

    features: tuple[Feature, ...]
    labels: dict[str, Label]
    conditions: dict[str, Condition]
    weight: Weight | None
    keys: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        """Connects labels with the tables that they share."""
        tables = {key: reading[0] for key, reading in features_by_table(self.features).items()}
        for label in self.labels.values():
            label.link(tables)

    @classmethod
    def fit(
        cls,
        frames: Iterable[pl.DataFrame],
        features: dict[str, FeatureConfig],
        tasks: dict[str, TaskConfig],
        *,
        weight: str | None,
        default_dim: int | Literal["auto"],
        keys: tuple[Key, ...] = (),
    ) -> Preprocessor:
        """Fits all encoders in one pass over training rows, as if those of weight 0 were not there.

        Args:
            frames: training rows with all raw columns, and `ROW` (row number within the
                source, for messages) where it is known.
            features: the configuration's features.
            tasks: the configuration's tasks.
            weight: column of row weights.
            default_dim: embedding width of features that name none; auto: by cardinality.
            keys: unfitted, of columns that evaluation groups rows by.

        Raises:
            UserError: everything that is wrong with columns, values and labels, together.
        """
        fitted = cls.unfitted(features, tasks, weight=weight, default_dim=default_dim)
        fitted = replace(fitted, keys=keys)
        problems: dict[int, UserError] = {}
        first = 0
        counted = frames if fitted.weight is None else map(fitted.weight.counted, frames)
        for frame in _regrouped(counted, FIT_ROWS):
            fitted._require(frame, labels=True)
            rows = fitted._weighted(frame, Rows.of(frame, first), problems)
            first += frame.height
            for index, encoder in enumerate(fitted._encoders):
                if index not in problems:
                    with _noting(problems, index):
                        encoder.update(
                            fitted._values(encoder, frame, fitted._after(encoder, frame, rows)),
                            rows,
                        )
        if fitted.weight is not None and _WEIGHT not in problems:
            fitted.weight.finish()
        for index, encoder in enumerate(fitted._encoders):
            if index not in problems:
                with _noting(problems, index):
                    encoder.finish()
        if problems:
            every = (p for index in sorted(problems) for p in problems[index].problems)
            raise UserError(*dict.fromkeys(every))
        return fitted

    @classmethod
    def unfitted(
        cls,
        features: dict[str, FeatureConfig],
        tasks: dict[str, TaskConfig],
        *,
        weight: str | None,
        default_dim: int | Literal["auto"],
    ) -> Preprocessor:
        """New encoders; see `fit`."""
        return cls(
            tuple(features_of(features, 0 if default_dim == "auto" else default_dim)),
            {name: kind_of(task.kind).label(name, task) for name, task in tasks.items()},
            {
                name: parse(task.only_where, f"tasks.{name}.only_where")
                for name, task in tasks.items()
                if task.only_where is not None
            },
            None if weight is None else Weight(weight),
        )

    @property
    def spec(self) -> DataSpec:
        """The properties that the network needs."""
        return DataSpec(
            features=tuple(f.spec for f in in_order(self.features)),
            tasks=tuple(label.spec for label in self.labels.values()),
        )

    def columns(self, labels: bool) -> list[str]:
        """Raw columns that `encode` reads, each once."""
        columns = [c for f in self.features for c in f.columns]
        if labels:
            columns += [label.column for label in self.labels.values()]
            columns += [c for condition in self.conditions.values() for c in condition.columns]
            columns += [] if self.weight is None else [self.weight.column]
            columns += [key.column for key in self.keys]
        return list(dict.fromkeys(columns))

    def encode(
        self, frame: pl.DataFrame, *, labels: bool = True, known: Mapping[str, Any] | None = None
    ) -> Batch:
        """Raw rows as tensors.

        Args:
            frame: raw rows.
            labels: without, only feature columns are read, all labels are NaN and all weights 1.
            known: features that are encoded already, by name.

        Raises:
            UserError: a column is missing, has the wrong type or holds a value it may not hold.
        """
        self._require(frame, labels=labels)
        rows = Rows.of(frame)
        others = [f for f in self.in_order if not known or f.name not in known]
        features = {f.name: f.encode(f.read(frame), rows) for f in others} | dict(known or {})
        batch = self.unlabelled(features, frame.height)
        if not labels:
            return batch
        encoded, weights = self._targets(frame)
        target = np.empty((frame.height, len(self.labels)), np.float32)
        for index, name in enumerate(self.labels):
            target[:, index] = encoded[name]
        keys = None
        if self.keys:
            of_keys = [key.encode(frame[key.column]) for key in self.keys]
            keys = torch.from_numpy(np.stack(of_keys, axis=1))
        items = {
            name: np.nan_to_num(encoded[name]).astype(np.int64)
            for name, label in self.labels.items()
            if label.has_items
        }
        blocks = dict(batch.blocks)
        if items:
            blocks[ItemIds.layout] = ItemIds.of(items, frame.height)
        return Batch(
            blocks,
            labels=torch.from_numpy(target),
            weights=torch.from_numpy(np.ascontiguousarray(weights)),
            keys=keys,
        )

    def unlabelled(self, features: Mapping[str, Any], rows: int) -> Batch:
        """The batch of encoded features by name: labels are NaN and weights 1."""
        parts = ((f.name, f.kind, features[f.name]) for f in self.in_order)
        labels = torch.full((rows, len(self.labels)), torch.nan)
        return Batch(blocks_of(parts, rows), labels, torch.ones(rows))

    @cached_property
    def in_order(self) -> list[Feature]:
        """The features in the order of a batch."""
        return in_order(self.features)

    def encode_labels(self, frame: pl.DataFrame) -> tuple[Labels, Labels]:
        """(B, T) float64 targets, NaN where unlabelled, and (B,) row weights.

        Raises:
            UserError: a label or weight has the wrong type or a value it may not have.
        """
        encoded, weights = self._targets(frame)
        target = np.empty((frame.height, len(self.labels)))
        for index, name in enumerate(self.labels):
            target[:, index] = encoded[name]
        return target, weights

    def _targets(self, frame: pl.DataFrame) -> tuple[dict[str, Labels], Labels]:
        """(B,) targets of each task, NaN where unlabelled, and (B,) row weights."""
        rows = Rows.of(frame)
        weights, counted = self._weights(frame, rows)
        encoded: dict[str, Labels] = {}
        for name in self.labels:
            self._encode_label(name, frame, rows, counted, encoded)
        return encoded, weights

    def targets(self, task: str, frame: pl.DataFrame) -> Labels:
        """(B,) targets of one task, NaN where unlabelled; those of a yes/no label need no fit.

        Raises:
            UserError: see `encode_labels`.
        """
        rows = Rows.of(frame)
        return self._encode_label(task, frame, rows, self._weights(frame, rows)[1], {})

    def _weights(self, frame: pl.DataFrame, rows: Rows) -> tuple[Labels, pl.Series | None]:
        """(B,) row weights, and which rows have labels; None: all."""
        if self.weight is None:
            return np.ones(frame.height, np.float32), None
        weights = self.weight.encode(frame[self.weight.column], rows)
        return weights, None if weights.all() else pl.Series(weights > 0)

    def decode(self, task: str, outputs: NDArray[np.floating], *, top_k: int = 10) -> pl.DataFrame:
        """Columns of a task's predictions, the first of them named like the task.

        Args:
            task: task name.
            outputs: (B, outputs) of the task's tower; (B, items) scores, item 0 (unknown) included,
                where there are items.
            top_k: items to name per row.
        """
        return self.labels[task].decode(np.asarray(outputs, np.float64), top_k=top_k)

    @property
    def files(self) -> dict[str, Path]:
        """Files that go with `to_dict`, by name: vocabularies of many millions."""
        every: dict[str, Path] = {}
        for coder in stored_vocabularies(self.features):
            every |= coder.files
        return every

    def to_dict(self) -> dict[str, Any]:
        """JSON-able state, restored exactly by `from_dict`."""
        return {
            "features": stored(self.features),
            "labels": {name: label.to_dict() for name, label in self.labels.items()},
            "only_where": {name: c.text for name, c in self.conditions.items()},
            "weight": None if self.weight is None else self.weight.to_dict(),
        } | ({"keys": [key.to_dict() for key in self.keys]} if self.keys else {})

    @classmethod
    def from_dict(cls, state: dict[str, Any], folder: Path | None = None) -> Preprocessor:
        """The preprocessor that `to_dict` stored.

        Args:
            state: of `to_dict`.
            folder: of its `files`; None: they are opened later.

        Raises:
            UserError: one of the files is missing or damaged.
        """
        weight = state["weight"]
        features = tuple(restored(state["features"]))
        if folder is not None:
            for coder in stored_vocabularies(features):
                coder.open(folder)
        return cls(
            features,
            {name: Label.from_dict(label) for name, label in state["labels"].items()},
            {n: parse(text, f"tasks.{n}.only_where") for n, text in state["only_where"].items()},
            None if weight is None else Weight.from_dict(weight),
            tuple(key_from_dict(key) for key in state.get("keys", ())),
        )

    def _encode_label(
        self,
        name: str,
        frame: pl.DataFrame,
        rows: Rows,
        counted: pl.Series | None,
        encoded: dict[str, Labels],
    ) -> Labels:
        """A task's (B,) targets, put into `encoded` after those of the task before, if any.

        Behind another task the target is that both happened: 0 where that one did not, NaN where
        it is not known. The task's own column is read only where the one before happened.
        """
        if name in encoded:
            return encoded[name]
        label = self.labels[name]
        if label.parent is None:
            encoded[name] = label.encode(self._values(label, frame, counted), rows)
            return encoded[name]
        before = self._encode_label(label.parent, frame, rows, counted, encoded)
        happened = before == 1
        own = label.encode(self._values(label, frame, pl.Series(happened)), rows)
        encoded[name] = np.where(happened, own, before)
        return encoded[name]

    def _after(self, encoder: ColumnEncoder, frame: pl.DataFrame, rows: Rows) -> pl.Series | None:
        """(B,) rows on which the task before a label's happened; None: there is no such task."""
        if not isinstance(encoder, Label) or encoder.parent is None:
            return None
        return pl.Series(self._encode_label(encoder.parent, frame, rows, None, {}) == 1)

    @property
    def _encoders(self) -> list[ColumnEncoder]:
        return [*self.features, *self.labels.values(), *self.keys]

    def _weighted(self, frame: pl.DataFrame, rows: Rows, problems: dict[int, UserError]) -> Rows:
        """Training rows with their weights, as long as these have no problem."""
        if self.weight is None or _WEIGHT in problems:
            return rows
        values, weighted = frame[self.weight.column], rows
        with _noting(problems, _WEIGHT):
            self.weight.update(values, rows)
            weights = self.weight.encode(values, rows)
            weighted = replace(rows, weights=weights.astype(np.float64))
        return weighted

    def _values(
        self, encoder: ColumnEncoder, frame: pl.DataFrame, counted: pl.Series | None = None
    ) -> pl.Series:
        """The encoder's column; a label is null outside its task's sample space.

        Args:
            encoder: whose.
            frame: raw rows.
            counted: (B,) rows that have labels; None: all.
        """
        values = encoder.read(frame) if isinstance(encoder, Feature) else frame[encoder.column]
        condition = self.conditions.get(encoder.task) if isinstance(encoder, Label) else None
        if condition is not None:
            mask = condition.mask(frame)
            counted = mask if counted is None else mask & counted
        if counted is None:
            return values
        return values.zip_with(counted, pl.repeat(None, 1, dtype=values.dtype, eager=True))

    def _require(self, frame: pl.DataFrame, *, labels: bool) -> None:
        missing = [c for c in self.columns(labels) if c not in frame.columns]
        if missing:
            raise UserError(
                *(
                    Problem("missing column", f"column '{c}'", fix=did_you_mean(c, frame.columns))
                    for c in missing
                )
            )


@contextmanager
def _noting(problems: dict[int, UserError], index: int) -> Iterator[None]:
    """Notes a `UserError` instead of raising it, to collect the others too."""
    try:
        yield
    except UserError as error:
        problems[index] = error


def _regrouped(frames: Iterable[pl.DataFrame], size: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of exactly `size` rows, the last one shorter."""
    held: list[pl.DataFrame] = []
    height = 0
    for frame in frames:
        held.append(frame)
        height += frame.height
        if height < size:
            continue
        joined = pl.concat(held, how="vertical_relaxed")
        full = height - height % size
        yield from joined.head(full).iter_slices(size)
        held, height = [joined.tail(height - full)], height - full
    if height:
        yield pl.concat(held, how="vertical_relaxed")
