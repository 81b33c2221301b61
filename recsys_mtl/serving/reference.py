"""`Reference`: what a model's inputs and scores looked like when it was trained.

It is stored with the model as reference.json. The same counts of later rows show how far they have
moved from it. Features are counted on a sample of the training rows, scores on a sample of the
validation rows, which the network has not learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from recsys_mtl.columns.bins import (
    Bins,
    ClassBins,
    Counts,
    NumberBins,
    bins_from_dict,
    bins_to_dict,
)
from recsys_mtl.columns.rows import Rows
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.serving.predictor import Predictor

Part = Literal["feature", "length", "score"]
Key = tuple[Part, str]
"""What is counted: a feature's values (the entries of its lists), the lengths of its lists, or a
task's score; and the feature's or task's name."""


@dataclass(frozen=True)
class Expected:
    """One distribution of the reference: its bins, and (C,) counts in them."""

    bins: Bins
    counts: Counts


@dataclass(frozen=True)
class Reference:
    """Distributions of a model's inputs and scores.

    Attributes:
        expected: each of them.
        split: rows that the scores are of: valid, test or train.
    """

    expected: Mapping[Key, Expected]
    split: str

    @classmethod
    def of(
        cls,
        inputs: Mapping[Key, Expected],
        predictor: Predictor,
        predictions: pl.DataFrame,
        split: str,
    ) -> Reference:
        """The reference of a model.

        Args:
            inputs: of `count_inputs`.
            predictor: the final model.
            predictions: of rows that it has not learnt from, a sample.
            split: of those rows.
        """
        labels, scores = predictor.preprocessor.labels, dict[Key, Expected]()
        for key, values in _scores(predictor, predictions):
            named = labels[key[1]].categories
            bins = ClassBins(named) if named else NumberBins.of(values)
            scores[key] = Expected(bins, bins.count(values))
        return cls({**inputs, **scores}, split)

    def count(
        self, predictor: Predictor, frame: pl.DataFrame, batch: Batch, predictions: pl.DataFrame
    ) -> dict[Key, Counts]:
        """The same counts of other rows; counts of several frames add up.

        Args:
            predictor: the model.
            frame: raw rows.
            batch: the same rows, encoded.
            predictions: the same rows, predicted.
        """
        values = _inputs(predictor.preprocessor, frame, batch)
        values |= dict(_scores(predictor, predictions))
        known = {key: value for key, value in values.items() if key in self.expected}
        return {key: self.expected[key].bins.count(value) for key, value in known.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, restored by `from_dict`."""
        return {
            "side": self.split,
            "expected": [
                {
                    "part": part,
                    "name": name,
                    "bins": bins_to_dict(e.bins),
                    "cells": e.bins.cells,
                    "counts": e.counts.tolist(),
                    "shares": (e.counts / max(e.counts.sum(), 1)).tolist(),
                }
                for (part, name), e in self.expected.items()
            ],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Reference:
        """The reference that `to_dict` stored."""
        expected = {
            (e["part"], e["name"]): Expected(
                bins_from_dict(e["bins"]), np.array(e["counts"], np.int64)
            )
            for e in stored["expected"]
        }
        return cls(expected, stored["side"])


def count_inputs(preprocessor: Preprocessor, rows: pl.DataFrame) -> dict[Key, Expected]:
    """Distributions of a model's inputs.

    Args:
        preprocessor: of the model.
        rows: raw training rows, a sample.
    """
    batch = preprocessor.encode(rows, labels=False)
    features = {feature.name: feature for feature in preprocessor.features}
    counted: dict[Key, Expected] = {}
    for (what, name), values in _inputs(preprocessor, rows, batch).items():
        bins = features[name].bins_of(what, values)
        counted[what, name] = Expected(bins, bins.count(values))
    return counted


def _inputs(preprocessor: Preprocessor, frame: pl.DataFrame, batch: Batch) -> dict[Key, Any]:
    """What drift is measured of every feature."""
    rows = Rows.of(frame)
    return {
        (what, f.name): values
        for f in preprocessor.features
        for what, values in f.observed(f.read(frame), rows, batch[f.name]).items()
    }


def _scores(predictor: Predictor, predictions: pl.DataFrame) -> Iterator[Any]:
    """(key, values) of what is tracked of every task."""
    for task, label in predictor.preprocessor.labels.items():
        score = label.tracked(predictions)
        yield ("score", task), score if label.categories else score.to_numpy()
