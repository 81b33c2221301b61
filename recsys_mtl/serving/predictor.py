"""`Predictor`: raw columns in, one readable set of columns a task out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.encoders import CategoricalListFeature, NumericFeature
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.schema import TaskSpec
from recsys_mtl.model import MultiTaskNetwork


class Predictor:
    """A trained network with its fitted preprocessing.

    Output columns of a task, by kind:
        binary: `<task>`, a probability.
        multiclass: `<task>`, the most probable class, and `<task>_probability_<class>`.
        regression: `<task>`, a value in the label's own unit.
        retrieval: `<task>`, the nearest items as text, best first, and `<task>_scores`, their
            cosine similarities.

    A task that was trained under `only_where` predicts within that sample space: conversion after
    `click == 1` is P(conversion | click), whatever row it is asked for. The probability over all
    rows is its product with the click task's.

    Args:
        config: of the run; retrieval predicts as many items as its evaluation looks at.
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
        self.fingerprint = fingerprint
        self._top_k = max(config.evaluation.top_k)

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The tasks, in the order of their output columns."""
        return self.preprocessor.spec.tasks

    @property
    def columns(self) -> list[str]:
        """Raw columns that a prediction needs."""
        return self.preprocessor.columns(labels=False)

    def schema(self) -> dict[str, pl.DataType]:
        """Raw columns and the type each is understood as.

        Where it says text, numbers and booleans are read as the text that they were in training;
        a list column with a separator may hold text too.
        """
        types: dict[str, pl.DataType] = {}
        for feature in self.preprocessor.features:
            if isinstance(feature, NumericFeature):
                types[feature.column] = pl.Float64()
            elif isinstance(feature, CategoricalListFeature):
                types[feature.column] = pl.List(pl.String())
            else:
                types[feature.column] = pl.String()
        return types

    def output_schema(self) -> dict[str, pl.DataType]:
        """Columns of `predict` and their types."""
        outputs = {t.name: np.zeros((1, t.items or t.outputs), np.float32) for t in self.tasks}
        return dict(self._decode(outputs).schema)

    def predict(self, frame: pl.DataFrame, batch_rows: int = 4096) -> pl.DataFrame:
        """Predict raw rows, in their order.

        Args:
            frame: raw rows with at least `columns`; labels are not needed.
            batch_rows: rows that go through the network at once.

        Raises:
            UserError: a column is missing, of a wrong type or infinite.
        """
        parts = [
            self._decode(self.raw_outputs(self.preprocessor.encode(rows, labels=False)))
            for rows in frame.iter_slices(batch_rows)
            if rows.height
        ]
        return pl.concat(parts) if parts else pl.DataFrame(schema=self.output_schema())

    @torch.inference_mode()
    def raw_outputs(self, batch: Batch) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs of encoded rows, as `Preprocessor.decode` takes them, float32.

        (B, 1) logits of a binary task, (B, classes) logits, (B, 1) transformed values, (B, items)
        scores of a retrieval task: as wide as its item table, so ask for few rows at a time.
        """
        device = next(self.network.parameters()).device
        logits = self.network(batch.to(device)).logits
        outputs = {}
        for task in self.tasks:
            values = logits[task.name].float()
            if task.kind == "retrieval":
                values = self.network.scores(task.name, values)
            outputs[task.name] = values.cpu().numpy()
        return outputs

    def _decode(self, outputs: dict[str, npt.NDArray[np.float32]]) -> pl.DataFrame:
        """The columns of all tasks, side by side."""
        frames = []
        for task in self.tasks:
            frame = self.preprocessor.decode(task.name, outputs[task.name], top_k=self._top_k)
            frames.append(frame.rename({name: _plain_name(task, name) for name in frame.columns}))
        return pl.concat(frames, how="horizontal")


def _plain_name(task: TaskSpec, column: str) -> str:
    """Column names as SQL and data frames like them, without dots of ours."""
    if column == task.name:
        return column
    if task.kind == "retrieval":
        return f"{task.name}_scores"
    return f"{task.name}_probability_{column.removeprefix(f'{task.name}.')}"
