"""What a network has to beat: a constant, and histogram gradient boosting for each task alone.

Both learn from the encoded rows that the network learns from, held in memory, and predict in the
form that metrics judge, so that one evaluation serves all.

Shapes: B rows, C columns of a task's predictions, F columns of the boosting's matrix.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from torch import Tensor

from recsys_mtl.columns.spec import DataSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.features.registry import KINDS
from recsys_mtl.metrics import Undefined
from recsys_mtl.tasks import Boosting, ToUnit, kind_of

log = logging.getLogger(__name__)

Array: TypeAlias = NDArray[np.floating]
Predictions: TypeAlias = dict[str, Array | Undefined]

MAX_CATEGORIES = 255
"""scikit-learn splits categories of at most this many values; larger tables enter as numbers."""

SETTINGS: dict[str, Any] = {"learning_rate": 0.05, "max_leaf_nodes": 15}
STOPPING: dict[str, Any] = {"early_stopping": True, "max_iter": 500, "n_iter_no_change": 20}
"""With validation rows: up to 500 trees, until 20 in a row have not lowered their loss."""

_NO_ROWS = Undefined("no labelled training rows")


def constant(
    train: Batch, test: Batch, tasks: Sequence[TaskSpec], *, inverses: Mapping[str, ToUnit]
) -> Predictions:
    """One prediction for all rows: base rate, class shares, mean, or the items' popularity.

    Args:
        train: rows whose (weighted) label distribution is used.
        test: rows to predict.
        tasks: the tasks, in the order of the label columns.
        inverses: of each task, from its targets to the label's unit.

    Returns:
        Predictions by task; `Undefined` where no training row is labelled.
    """
    predictions: Predictions = {}
    for column, task in enumerate(tasks):
        rows, labels, weights = _labelled(train, column)
        if not len(rows):
            predictions[task.name] = _NO_ROWS
            continue
        to_unit = inverses[task.name]
        value = kind_of(task.kind).constant(task, labels, weights, to_unit)
        predictions[task.name] = np.broadcast_to(value, (test.num_rows, *value.shape))
    return predictions


def gradient_boosting(
    train: Batch,
    valid: Batch,
    test: Batch,
    spec: DataSpec,
    *,
    seed: int,
    inverses: Mapping[str, ToUnit],
) -> Predictions:
    """scikit-learn's histogram gradient boosting, one model a task, on the task's labelled rows.

    Columns: the encoded numeric ones as they are; ids as categories for tables of at most
    `MAX_CATEGORIES` rows, else as the number the id is (no statistic of a label enters); a list as
    its length and its first id. Row weights count. The number of trees is that of the
    lowest loss on the task's rows of `valid`; without any it is scikit-learn's default of 100.

    Args:
        train: rows to learn from.
        valid: rows that stop the training early.
        test: rows to predict.
        spec: columns and tasks of the batches.
        seed: of the boosting.
        inverses: of each task, from its targets to the label's unit.

    Returns:
        Predictions by task. `Undefined` for retrieval, which boosting cannot do, and where no
        training row is labelled; training labels of one class give that class.
    """
    (train_columns, categorical), (valid_columns, _), (test_columns, _) = (
        _matrix(spec, rows) for rows in (train, valid, test)
    )
    settings = {"categorical_features": categorical, "random_state": seed}
    predictions: Predictions = {}
    for column, task in enumerate(spec.tasks):
        kind, to_unit = kind_of(task.kind), inverses[task.name]
        if kind.no_boosting:
            predictions[task.name] = Undefined(kind.no_boosting)
            continue
        rows, labels, weights = _labelled(train, column)
        if not len(rows):
            predictions[task.name] = _NO_ROWS
            continue
        if labels.min() == labels.max():
            value = kind.constant(task, labels, weights, to_unit)
            predictions[task.name] = np.broadcast_to(value, (test.num_rows, *value.shape))
            continue
        known = _labelled(valid, column)
        held_out = valid_columns[known[0]], *known[1:]
        predicted, trees = [], 0
        for part in kind.boosting():
            learned = train_columns[rows], part.target(labels), weights
            model = _fit(part, learned, _stopping_rows(part, held_out, learned[1]), **settings)
            predicted.append(_predict(model, test_columns, kind.classes(task)))
            trees += _trees(model)
        log.info("gradient boosting of %s: %d rows, %d trees", task.name, len(rows), trees)
        predictions[task.name] = kind.boosted(task, predicted, to_unit)
    return predictions


_Labelled: TypeAlias = tuple[NDArray[np.intp], Array, Array]
_Rows: TypeAlias = tuple[Array, Array, Array]


def _labelled(rows: Batch, column: int) -> _Labelled:
    """Row numbers, labels and weights of the rows that count for a task."""
    labels, weights = _numpy(rows.labels[:, column]), _numpy(rows.weights)
    (kept,) = np.nonzero(~np.isnan(labels) & (weights > 0))
    return kept, labels[kept].astype(np.float64), weights[kept].astype(np.float64)


def _matrix(spec: DataSpec, rows: Batch) -> tuple[Array, list[int]]:
    """(B, F) columns that the kinds of features bring, and which of them are small categories."""
    columns = [
        column
        for feature in spec.features
        for column in KINDS[feature.kind].tree_columns(feature, rows[feature.name])
    ]
    matrix = np.empty((rows.num_rows, len(columns)), np.float32)
    for index, column in enumerate(columns):
        matrix[:, index] = column.values
    counts = [column.categories for column in columns]
    small = [i for i, count in enumerate(counts) if count is not None and count <= MAX_CATEGORIES]
    return matrix, small


def _stopping_rows(part: Boosting, held_out: _Rows, learned: Array) -> _Rows | None:
    """The validation rows of a model, less those of classes that training did not see."""
    columns, labels, weights = held_out
    labels = part.target(labels)
    if part.loss is None:
        fitted = np.isin(labels, learned)
        columns, labels, weights = columns[fitted], labels[fitted], weights[fitted]
    return (columns, labels, weights) if len(labels) else None


def _fit(part: Boosting, train: _Rows, valid: _Rows | None, **settings: Any) -> Any:
    """A fitted estimator."""
    if part.loss is None:
        estimator: Any = HistGradientBoostingClassifier
    else:
        estimator = partial(HistGradientBoostingRegressor, loss=part.loss)
    X, y, weights = train
    if valid is None:
        model = estimator(early_stopping=False, **SETTINGS, **settings)
        return model.fit(X, y, sample_weight=weights)
    X_val, y_val, weights_val = valid
    model = estimator(**STOPPING, **SETTINGS, **settings)
    return model.fit(
        X, y, sample_weight=weights, X_val=X_val, y_val=y_val, sample_weight_val=weights_val
    )


def _predict(model: Any, columns: Array, classes: int) -> Array:
    """(B,) values or (B, classes) probabilities, of the trees up to the best validation loss."""
    last = _trees(model) - 1
    if not isinstance(model, HistGradientBoostingClassifier):
        values: Array = next(islice(model.staged_predict(columns), last, None))
        return values
    probabilities: Array = next(islice(model.staged_predict_proba(columns), last, None))
    spread = np.zeros((len(columns), classes))  # a class unseen in training has probability 0
    spread[:, model.classes_.astype(np.int64)] = probabilities
    return spread


def _trees(model: Any) -> int:
    """How many trees to use: scikit-learn keeps those it grew after the best one too."""
    scores = model.validation_score_  # before any tree, then after each; empty without stopping
    return max(1, int(np.argmax(scores))) if len(scores) else int(model.n_iter_)


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.numpy(force=True)
    return array
