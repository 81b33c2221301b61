from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys_mtl.boosting import lightgbm as ours
from recsys_mtl.boosting.lightgbm import DEFAULTS, REGRESSORS, TRIES, LightGBM, drawn
from recsys_mtl.boosting.model import Model
from recsys_mtl.boosting.rows import Problem, Rows
from recsys_mtl.tasks import KINDS, Boosting

lightgbm = pytest.importorskip("lightgbm", reason="the extra lightgbm is not installed")
CATEGORIES = (None, 300, 5)


def problem(loss: str | None = None, classes: int = 2) -> Problem:
    """A number and a small category that count, and an id of 300 that does not."""
    random = np.random.default_rng(0)
    x = np.stack([random.normal(size=600), *(random.integers(0, n, 600) for n in (300, 5))], 1)
    hidden = x[:, 0] + x[:, 2] % 2 + random.normal(0, 0.5, 600)
    y = np.exp(hidden) if loss else np.digitize(hidden, [0.5, 1.5, 2][: classes - 1])
    weights = random.integers(1, 4, 600).astype(float)
    halves = [
        Rows(x[part], y[part].astype(float), weights[part]) for part in np.split(np.arange(600), 2)
    ]
    return Problem.of(Boosting(loss), *halves)


def fit(of: Problem, tries: int = 1, seed: int = 0) -> Model:
    return LightGBM(tries).fit(of, categories=CATEGORIES, seed=seed, threads=1)


def loss_of(predicted: np.ndarray, rows: Rows) -> float:
    own = predicted[np.arange(len(predicted)), rows.labels.astype(int)]
    return float(np.average(-np.log(own), weights=rows.weights))


def literal(learned: Problem, settings: Any, *, on: bool, rounds: int) -> list[float]:
    """The validation loss after each round, by LightGBM alone."""
    train, valid = learned.train, learned.valid
    assert valid is not None
    classes = len(learned.classes)
    of_many = {"objective": "multiclass", "num_class": classes}
    given = {"objective": "binary"} if classes == 2 else of_many
    given |= {"verbosity": -1, "seed": 0, "num_threads": 1, "deterministic": True, **settings}
    given |= {"force_row_wise": True, "feature_pre_filter": False}
    data = lightgbm.Dataset(
        train.columns,
        train.labels,
        weight=train.weights / train.weights.mean(),
        categorical_feature=[1, 2] if on else [2],
        params=given,
    )
    booster = lightgbm.train(given, data, rounds)
    predicted = (booster.predict(valid.columns, num_iteration=n + 1) for n in range(rounds))
    if classes == 2:
        predicted = (np.stack([1 - p, p], axis=1) for p in predicted)
    return [loss_of(p, valid) for p in predicted]


def test_every_kind_has_an_objective() -> None:
    losses = {part.loss for kind in KINDS.values() for part in kind.boosting()}
    assert losses - {None} <= REGRESSORS.keys()


def test_settings_are_the_same_ones_every_time() -> None:
    first, second = (list(drawn(TRIES, large=True)) for _ in range(2))
    assert first == second
    assert first[:2] == [(DEFAULTS, True), (DEFAULTS, False)]
    assert len(first) == TRIES + 1
    assert {on for _, on in first[2:]} == {True, False}
    small = list(drawn(TRIES, large=False))
    assert [settings for settings, _ in small] == [
        settings for settings, _ in first[:1] + first[2:]
    ]
    assert all(on for _, on in small)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_stops_at_the_lowest_loss_of_the_validation_rows(classes: int) -> None:
    learned = problem(classes=classes)
    model = fit(learned)
    assert learned.valid is not None
    rounds = literal(learned, DEFAULTS, on=False, rounds=60)
    assert model.settings["large_ids"] == "numbers"
    assert model.trees == 1 + int(np.argmin(rounds)) < 60
    got = model.predict(learned.valid.columns)
    assert got.shape == (300, classes)
    assert loss_of(got, learned.valid) == pytest.approx(min(rounds))


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "poisson", "gamma"])
def test_regressors(loss: str) -> None:
    learned = problem(loss)
    assert learned.valid is not None
    predicted = fit(learned).predict(learned.valid.columns)
    assert np.corrcoef(predicted, learned.valid.labels)[0, 1] > 0.5


def test_weights_count_by_their_ratios() -> None:
    learned = problem()
    scaled = replace(learned, train=learned.train._replace(weights=learned.train.weights * 1e-5))
    ignored = replace(learned, train=learned.train._replace(weights=np.ones(300)))
    columns = learned.train.columns
    expected, same, other = (fit(p).predict(columns) for p in (learned, scaled, ignored))
    np.testing.assert_allclose(same, expected, rtol=1e-4)
    assert np.abs(other - expected).max() > 0.01


def test_without_validation_rows_it_grows_its_default_of_trees() -> None:
    model = fit(replace(problem(), valid=None), tries=3)
    assert (model.trees, model.settings) == (100, DEFAULTS)


def test_large_ids_are_what_loses_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that mean nothing are better as numbers, parity is better as categories."""
    monkeypatch.setattr(ours, "MOST_TREES", 20)
    seen: list[Any] = []
    usual = ours._binned

    def watched(*args: Any) -> Any:
        seen.append(args[-1])
        return usual(*args)

    monkeypatch.setattr(ours, "_binned", watched)
    learned = problem()
    assert fit(learned).settings == {**DEFAULTS, "large_ids": "numbers"}
    assert seen == [True, False]
    random = np.random.default_rng(1)

    def parity(count: int) -> Rows:
        ids = random.integers(0, 300, count)
        columns = np.stack([ids, ids, ids % 5], axis=1)
        return Rows(columns, (ids * 7919 % 300 % 2).astype(float), np.ones(count))

    odd = Problem.of(Boosting(None), parity(6000), parity(2000))
    assert fit(odd).settings["large_ids"] == "categories"
    small = LightGBM().fit(learned, categories=(None, None, 5), seed=0, threads=1)
    assert small.settings == DEFAULTS


@pytest.mark.slow  # several settings
def test_tuning_takes_the_settings_of_the_lowest_validation_loss() -> None:
    learned = problem()
    assert learned.valid is not None
    best = fit(learned, tries=6)
    losses = []
    for settings, on in drawn(6, large=True):
        of_rounds = literal(learned, settings, on=on, rounds=300)
        losses.append((min(of_rounds), settings, 1 + int(np.argmin(of_rounds))))
    lowest, settings, trees = min(losses, key=lambda row: row[0])
    assert {**best.settings} == {**settings, "large_ids": best.settings["large_ids"]}
    assert best.trees == trees
    assert loss_of(best.predict(learned.valid.columns), learned.valid) == pytest.approx(lowest)
