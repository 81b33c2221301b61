"""`Predictor`: raw columns in, one readable set of columns a task out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import combinations
from typing import Any, overload

import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
import torch
from torch import Tensor

from recsys_mtl.columns.few import FewColumns, FewValues
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.few_rows import FEW_ROWS, encode_few
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import Problem, UserError, wrong
from recsys_mtl.model import MultiTaskNetwork, Outputs
from recsys_mtl.model.device import Precision, autocast
from recsys_mtl.serving.frames import Frame, as_polars, like
from recsys_mtl.serving.pandas_rows import to_polars

_ENCODED_AT_ONCE = 65_536  # rows; an encoder's fixed cost a call is then negligible a row
_DECODED_AT_ONCE = 4  # batches; small ones decode slowly


class Predictor:
    """A trained network with its fitted preprocessing.

    Each task has a column of its name, and the others that its kind has: `Label.decode`.

    A task that was trained under `only_where` predicts within that sample space: conversion after
    `click == 1` is P(conversion | click), for any row. The probability over all
    rows is its product with the click task's. With `through: click` the column is that probability
    over all rows, and `conversion_given_click` is P(conversion | click).

    Args:
        config: of the run; retrieval predicts as many items as its evaluation uses.
        preprocessor: fitted on the training rows.
        network: the network; it is put into evaluation mode.
        fingerprint: of the data that the run was split from; empty where it is not known.
    """

    def __init__(
        self,
        config: Config,
        preprocessor: Preprocessor,
        network: MultiTaskNetwork,
        fingerprint: str = "",
    ) -> None:
        self.config = config
        self.preprocessor = preprocessor
        self.network = network.eval()
        self.precision: Precision = "fp32"
        self.spread = False
        self.fingerprint = fingerprint
        self._top_k = max(config.evaluation.top_k)

    @cached_property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The tasks, in the order of their output columns."""
        return self.preprocessor.spec.tasks

    @cached_property
    def columns(self) -> list[str]:
        """Raw columns that a prediction needs."""
        return self.preprocessor.columns(labels=False)

    def schema(self) -> dict[str, pl.DataType]:
        """Raw columns and the type each is understood as.

        For text, numbers and booleans are read as the text that they were in training;
        a list column with a separator may hold text too. A column of several features is as its
        last one that reads no plain numbers.
        """
        return dict(self._schema)

    @cached_property
    def _schema(self) -> dict[str, pl.DataType]:
        return schema_of(self.preprocessor)

    def output_schema(self) -> dict[str, pl.DataType]:
        """Columns of `predict` and their types."""
        each = _columns_by_task(self.preprocessor).values()
        schema = {name: dtype for columns in each for name, dtype in columns.items()}
        if self.spread:
            schema |= {f"{name}_spread": t for name, t in schema.items() if t.is_float()}
        return schema

    def show_spread(self) -> None:
        """Predict `COLUMN_spread` too, after all other columns.

        It is the standard deviation of the members' predictions, for every column of a number:
        where they disagree, the model knows little of such rows.

        Raises:
            UserError: the network has no members, or a column has such a name already.
        """
        if self.network.members.count == 1:
            raise wrong(
                "the spread of one member", where="--spread", expected="a model with members",
                fix="train with model.members: 8, or leave --spread out",
            )  # fmt: skip
        names = self.output_schema()
        taken = [name for name in names if f"{name}_spread" in names]
        if taken:
            raise wrong(
                f"'{taken[0]}_spread' is a column of the predictions already", where="--spread",
                fix="leave --spread out, or rename the task",
            )  # fmt: skip
        self.spread = True

    @overload
    def predict(self, frame: pl.DataFrame, batch_rows: int = 1024) -> pl.DataFrame: ...

    @overload
    def predict(self, frame: Frame, batch_rows: int = 1024) -> Any: ...

    def predict(self, frame: Frame, batch_rows: int = 1024) -> Any:
        """Predict raw rows, in their order; a table of the library that `frame` is of.

        Args:
            frame: raw rows with at least `columns`; labels are not needed.
            batch_rows: rows that go through the network at once; fewer for a large catalogue, whose
                items are all scored.

        Raises:
            UserError: a column is missing, of a wrong type or infinite.
        """
        if not isinstance(frame, pl.DataFrame):
            rows = as_polars(frame, "rows to predict", self._schema, self.columns)
            return like(frame, self.predict(rows, batch_rows))
        if 0 < frame.height <= FEW_ROWS:
            there = [name for name in self.columns if name in frame.columns]
            columns = {name: FewValues.read(frame[name]) for name in there}
            batch = encode_few(self.preprocessor, columns, frame.height, lambda: frame)
            return self._columns([self._outputs(batch)])
        parts = [
            self.predict_encoded(self.preprocessor.encode(rows, labels=False), batch_rows)
            for rows in frame.iter_slices(_ENCODED_AT_ONCE)
            if rows.height
        ]
        return pl.concat(parts) if parts else pl.DataFrame(schema=self.output_schema())

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Predict rows of Python values, such as parsed JSON, in their order.

        Args:
            rows: column -> value, None where it is missing; a column that no row has is missing,
                unless it holds lists, which are empty then. Others than `columns` are left out.

        Returns:
            Column of `output_schema` -> value, of each row.

        Raises:
            UserError: a column is missing, or a value is of a wrong type or infinite.

        Example:
            >>> from recsys_mtl.serving import load_bundle
            >>> predictor = load_bundle("runs/visits/model")
            >>> row = dict.fromkeys(predictor.columns) | {"age": 41, "region": "region_04"}
            >>> sorted(predictor.predict_rows([row])[0])
            ['churn', 'click', 'conversion', 'value']
        """
        if not rows:
            return []
        known = [name for name in self._schema if any(name in row for row in rows)]
        columns = {name: [row.get(name) for row in rows] for name in known}

        def frame() -> pl.DataFrame:
            exact = object  # integers next to None
            raw = pd.DataFrame(columns, range(len(rows)), dtype=exact)
            return to_polars(raw, self._schema)

        if len(rows) > FEW_ROWS or self.spread:
            return self.predict(frame()).to_dicts()
        few = {name: FewValues.of(values) for name, values in columns.items()}
        predicted = self.predict_few(few, len(rows), frame)
        return [
            dict(zip(predicted, row, strict=True)) for row in zip(*predicted.values(), strict=True)
        ]

    def predict_few(
        self, columns: FewColumns, rows: int, frame: Callable[[], pl.DataFrame]
    ) -> dict[str, list[Any]]:
        """Predict a few rows, without the spread.

        Args:
            columns: raw columns by name.
            rows: their length.
            frame: gives the same rows, for values that only columns can tell.

        Raises:
            UserError: as `predict`.
        """
        batch = encode_few(self.preprocessor, columns, rows, frame)
        values = self._values(self._logits([self._outputs(batch)]))
        return {
            name: column.to_list() if isinstance(column, pl.Series) else column.tolist()
            for name, column in values.items()
        }

    def predict_encoded(self, rows: Batch, batch_rows: int = 1024) -> pl.DataFrame:
        """Predict encoded rows, at least one, in their order.

        Args:
            rows: what `preprocessor.encode` gave.
            batch_rows: rows that go through the network at once; few enough to stay in the cache.
        """
        indices = torch.arange(rows.num_rows)
        outputs = [self._outputs(rows.select(some)) for some in torch.split(indices, batch_rows)]
        joined = (
            outputs[start : start + _DECODED_AT_ONCE]
            for start in range(0, len(outputs), _DECODED_AT_ONCE)
        )
        return pl.concat([self._columns(some) for some in joined])

    @torch.no_grad()  # the fused tables have no inference mode
    def raw_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """The towers' outputs for encoded rows, float32, on the network's device.

        `precision` is that of the matrix products; set it to bf16 for speed where three digits do.

        (B, outputs) of each task, whatever its kind's outputs are; unit queries where there are
        items.
        """
        logits = self._outputs(batch).logits
        return {task.name: logits[task.name].float() for task in self.tasks}

    @torch.no_grad()
    def _outputs(self, batch: Batch) -> Outputs:
        device = next(self.network.parameters()).device
        with autocast(self.precision, device):
            outputs: Outputs = self.network(batch.to(device))
        return outputs

    def _columns(self, outputs: Sequence[Outputs]) -> pl.DataFrame:
        """The columns of some batches, and their spread where it is shown."""
        predicted = self._decode(self._logits(outputs))
        if not self.spread:
            return predicted
        by_member = [
            self._decode(
                {t.name: torch.cat([o.members[t.name][m] for o in outputs]) for t in self.tasks}
            ).select(cs.float())
            for m in range(self.network.members.count)
        ]
        spread = [
            np.std([member[name] for member in by_member], axis=0) for name in by_member[0].columns
        ]
        named = zip(by_member[0].columns, spread, strict=True)
        return predicted.with_columns(pl.Series(f"{name}_spread", of) for name, of in named)

    def _logits(self, outputs: Sequence[Outputs]) -> dict[str, Tensor]:
        """The towers' outputs of some batches, one after another, by task."""
        return {t.name: torch.cat([o.logits[t.name] for o in outputs]).float() for t in self.tasks}

    def _decode(self, outputs: dict[str, Tensor]) -> pl.DataFrame:
        """The columns of all tasks."""
        return pl.DataFrame(self._values(outputs))

    @torch.no_grad()
    def _values(self, outputs: dict[str, Tensor]) -> dict[str, Any]:
        """The columns of all tasks by name: arrays, or series of lists."""
        columns: dict[str, Any] = {}
        for task, label in self.preprocessor.labels.items():
            own = outputs[task]
            if label.parent is not None:
                own = torch.cat([own, outputs[label.parent]], 1)
            if label.has_items:
                items = partial(self.network.item_vectors, task)
                columns |= label.frame(own, items, top_k=self._top_k).to_dict()
            else:
                columns |= label.columns(np.asarray(own.cpu().numpy(), np.float64))
        return columns


def check_output_columns(preprocessor: Preprocessor) -> None:
    """Every task's columns of predictions have unique names.

    Raises:
        UserError: every name that two tasks share, such as that of task `band_probability_low` and
            of class `low` of task `band`.
    """
    problems = [
        Problem(
            f"both predict a column '{name}'",
            f"tasks.{first} and tasks.{second}",
            fix="rename one of the tasks; its label column can stay: label",
        )
        for (first, columns), (second, others) in combinations(
            _columns_by_task(preprocessor).items(), 2
        )
        for name in columns
        if name in others
    ]
    if problems:
        raise UserError(*problems)


def schema_of(preprocessor: Preprocessor) -> dict[str, pl.DataType]:
    """See `Predictor.schema`."""
    schema: dict[str, pl.DataType] = {}
    for feature in preprocessor.features:
        if feature.column not in schema or feature.raw_dtype != pl.Float64:
            schema[feature.column] = feature.raw_dtype
    return schema


def _columns_by_task(preprocessor: Preprocessor) -> dict[str, dict[str, pl.DataType]]:
    """Names and types of the columns of predictions, by task."""
    return {name: label.schema() for name, label in preprocessor.labels.items()}
