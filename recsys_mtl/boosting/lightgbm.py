"""LightGBM (Ke et al. 2017), an optional extra: with its own defaults, or tuned.

The tuned settings are those of the lowest validation loss among the defaults and settings drawn at
random, the same ones for every task.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from recsys_mtl.boosting.model import MAX_CATEGORIES, Learner, Model
from recsys_mtl.boosting.rows import Array, Problem, Rows

Settings = Mapping[str, Any]

DEFAULTS: Settings = {"learning_rate": 0.1, "num_leaves": 31, "min_child_samples": 20}
"""LightGBM's own."""

MOST_TREES, PATIENCE, TREES = 2000, 50, 100
"""With validation rows: up to 2,000 rounds, until 50 in a row have not lowered their loss. Without:
LightGBM's default of 100."""

TRIES = 24
"""Settings that the search tries, the defaults among them."""

REGRESSORS = {
    "squared_error": "regression",
    "absolute_error": "regression_l1",
    "poisson": "poisson",
    "gamma": "gamma",
}
"""LightGBM's objective for scikit-learn's name of a loss."""


@dataclass(frozen=True)
class LightGBM(Learner):
    """One model a problem: of `tries` settings the one with the lowest validation loss.

    Ids of tables of more than `MAX_CATEGORIES` rows may be categories or numbers: categories can
    memorise the ids of a rare task, numbers cannot separate those of a frequent one.
    """

    package = "lightgbm"
    title = "LightGBM"
    tries: int = 1

    def fit(
        self, problem: Problem, *, categories: Sequence[int | None], seed: int, threads: int
    ) -> Model:
        """Ids are categories; those of large tables are numbers where that loses less."""
        library, common = load(), _common(problem) | {"seed": seed, "num_threads": threads}
        binned = cache(partial(_binned, library, problem, common, categories))
        large = any(of is not None and of > MAX_CATEGORIES for of in categories)
        if problem.valid is None:
            booster = library.train({**common, **DEFAULTS}, binned(True)[0], TREES)
            return _model(booster, TREES, DEFAULTS)
        models: list[Model] = []
        losses: list[float] = []
        for settings, as_categories in drawn(self.tries, large=large):
            train, *valid = binned(as_categories)
            booster = library.train(
                {**common, **settings},
                train,
                MOST_TREES,
                valid_sets=valid,
                callbacks=[library.early_stopping(PATIENCE, verbose=False)],
            )
            losses += booster.best_score["valid_0"].values()
            reported = {"large_ids": "categories" if as_categories else "numbers"} if large else {}
            models.append(_model(booster, booster.best_iteration, {**settings, **reported}))
        return models[int(np.argmin(losses))]


def drawn(tries: int, *, large: bool) -> Iterator[tuple[Settings, bool]]:
    """The defaults, then settings drawn at random, always the same ones.

    Args:
        tries: number of settings.
        large: whether there are ids of large tables; the defaults then come with them as numbers
            too.

    Yields:
        Settings, and whether those ids are categories.
    """
    yield DEFAULTS, True
    if large:
        yield DEFAULTS, False
    random = np.random.default_rng(0)

    def between(low: float, high: float) -> float:
        return float(f"{np.exp(random.uniform(np.log(low), np.log(high))):.3g}")

    for _ in range(tries - 1):
        settings = {
            "learning_rate": between(0.02, 0.2),
            "num_leaves": round(between(4, 128)),
            "min_child_samples": round(between(5, 200)),
            "feature_fraction": between(0.3, 1),
            "bagging_fraction": between(0.5, 1),
            "bagging_freq": 1,
            "lambda_l2": between(0.01, 30),
            "cat_smooth": between(3, 300),
        }
        as_categories = bool(random.integers(2))
        yield settings, as_categories or not large


def load() -> Any:
    """The library.

    Raises:
        ImportError: it is not installed.
        OSError: a library of the system that it needs is missing.
    """
    return importlib.import_module("lightgbm")


def _common(problem: Problem) -> dict[str, Any]:
    if problem.loss is not None:
        objective: dict[str, Any] = {"objective": REGRESSORS[problem.loss]}
    elif len(problem.classes) == 2:
        objective = {"objective": "binary"}
    else:
        objective = {"objective": "multiclass", "num_class": len(problem.classes)}
    return objective | {
        "deterministic": True,
        "force_row_wise": True,  # else a race of the two decides, and so the last digits
        "feature_pre_filter": False,  # all settings share the binned rows
        "verbosity": -1,
    }


def _binned(
    library: Any,
    problem: Problem,
    common: Mapping[str, Any],
    categories: Sequence[int | None],
    large: bool,
) -> list[Any]:
    """The training rows and, if there are any, the validation rows; `large` ids as categories."""
    most = np.inf if large else MAX_CATEGORIES
    kept = [i for i, of in enumerate(categories) if of is not None and of <= most]
    train = _dataset(library, problem.train, params=common, categorical_feature=kept)
    if problem.valid is None:
        return [train]
    return [train, _dataset(library, problem.valid, params=common, reference=train)]


def _dataset(library: Any, rows: Rows, **given: Any) -> Any:
    """Weights of mean 1: leaves have a least sum of hessians, in which they count."""
    weights = rows.weights / rows.weights.mean()
    return library.Dataset(rows.columns, rows.labels, weight=weights, **given)


def _model(booster: Any, trees: int, settings: Settings) -> Model:
    return Model(partial(_predict, booster, trees), trees, settings)


def _predict(booster: Any, trees: int, columns: Array) -> Array:
    """(B,) values, or (B, classes) probabilities."""
    predicted: Array = booster.predict(columns, num_iteration=trees)
    binary = booster.params["objective"] == "binary"
    return np.stack([1 - predicted, predicted], axis=1) if binary else predicted
