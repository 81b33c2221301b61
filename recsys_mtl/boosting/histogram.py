"""scikit-learn's histogram gradient boosting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from recsys_mtl.boosting.model import MAX_CATEGORIES, Learner, Model
from recsys_mtl.boosting.rows import Array, Problem

SETTINGS: dict[str, Any] = {"learning_rate": 0.05, "max_leaf_nodes": 15}
STOPPING: dict[str, Any] = {"early_stopping": True, "max_iter": 500, "n_iter_no_change": 20}
"""With validation rows: up to 500 trees, until 20 in a row have not lowered their loss."""


class Histogram(Learner):
    """`HistGradientBoostingClassifier` and `-Regressor`; without validation rows 100 trees."""

    package = "scikit-learn"
    title = "scikit-learn"

    def fit(
        self, problem: Problem, *, categories: Sequence[int | None], seed: int, threads: int
    ) -> Model:
        """Columns of at most `MAX_CATEGORIES` categories are categorical, others are numbers."""
        small = [i for i, of in enumerate(categories) if of is not None and of <= MAX_CATEGORIES]
        given: dict[str, Any] = {"categorical_features": small, "random_state": seed}
        with threadpool_limits(threads, "openmp"):
            model = _fitted(problem, given)
        trees = _trees(model)
        return Model(partial(_predict, model, trees), trees, SETTINGS)


def _fitted(problem: Problem, given: dict[str, Any]) -> Any:
    """The estimator, stopped early; scikit-learn has no Poisson loss of rows without a count."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if problem.loss is None:
        estimator: Any = HistGradientBoostingClassifier
    else:
        estimator = partial(HistGradientBoostingRegressor, loss=problem.loss)
    columns, targets, weights = problem.train
    if problem.valid is None or (problem.loss == "poisson" and not problem.valid.labels.any()):
        model = estimator(early_stopping=False, **SETTINGS, **given)
        return model.fit(columns, targets, sample_weight=weights)
    model = estimator(**STOPPING, **SETTINGS, **given)
    return model.fit(
        columns,
        targets,
        sample_weight=weights,
        X_val=problem.valid.columns,
        y_val=problem.valid.labels,
        sample_weight_val=problem.valid.weights,
    )


def _predict(model: Any, trees: int, columns: Array) -> Array:
    staged = getattr(model, "staged_predict_proba", None) or model.staged_predict
    predicted: Array = next(islice(staged(columns), trees - 1, None))
    return predicted


def _trees(model: Any) -> int:
    """How many trees to use: scikit-learn keeps those it grew after the best one too."""
    scores = model.validation_score_  # before any tree, then after each; empty without stopping
    return max(1, int(np.argmax(scores))) if len(scores) else int(model.n_iter_)
