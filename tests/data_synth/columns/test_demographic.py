from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import beta, rankdata

from data_synth.columns import Demographics, demographics
from data_synth.columns.demographic import EDUCATION, REGIONS
from data_synth.plan import Missing
from data_synth.relations import square_root
from data_synth.views import COPULA, DEMOGRAPHICS

COUNT = 50_000
SIGMAS = 4.5


@pytest.fixture
def drawn(rng: np.random.Generator) -> Demographics:
    views = (rng.standard_normal((COUNT, 5)) @ square_root(COPULA)).astype(np.float32)
    return demographics(views, rng.integers(6, size=COUNT), Missing(), rng)


def test_the_copula(drawn: Demographics) -> None:
    """Normal scores of the ranks have the copula's correlations; steps and ties weaken some."""
    values = np.stack([drawn.columns[name] for name in DEMOGRAPHICS])
    scores = ndtri((np.apply_along_axis(rankdata, 1, values) - 0.5) / COUNT)
    actual = np.corrcoef(scores)
    bound = SIGMAS / np.sqrt(COUNT)
    assert np.abs(actual - COPULA)[:3, :3].max() < bound  # years, money, months: hardly any ties
    steps = actual[:3, 3:]
    assert (np.abs(steps) < np.abs(COPULA[:3, 3:]) + bound).all()
    # Four and six steps keep some 0.85 to 0.95 of a correlation.
    assert (np.abs(steps) > 0.8 * np.abs(COPULA[:3, 3:]) - bound).all()


def test_marginals(drawn: Demographics) -> None:
    age, income, tenure, household, education = (drawn.columns[n] for n in DEMOGRAPHICS)
    assert age.min() >= 18
    assert age.max() < 90
    mean = 18 + 72 * beta.mean(1.6, 2.6) - 0.5  # rounded down
    assert abs(age.mean() - mean) < SIGMAS * age.std() / np.sqrt(COUNT) + 0.01  # the table's grid
    logs = np.log(income.astype(np.float64))
    assert abs(logs.mean() - 10.3) < SIGMAS * 0.6 / np.sqrt(COUNT)
    months = 1 / np.expm1(1 / 48)  # mean of an exponential value of mean 48, rounded down
    assert abs(tenure.mean() - months) < SIGMAS * 48 / np.sqrt(COUNT)
    se = SIGMAS * 0.5 / np.sqrt(COUNT)
    actual = np.bincount(education) / COUNT
    assert np.abs(actual - [0.15, 0.45, 0.28, 0.12]).max() < se
    actual = np.bincount(household) / COUNT
    assert np.abs(actual - [0, 0.30, 0.32, 0.17, 0.14, 0.05, 0.02]).max() < se


def test_nulls(drawn: Demographics) -> None:
    age, income = drawn.nulls["age"], drawn.nulls["income"]
    assert abs(age.mean() - 0.05) < SIGMAS * np.sqrt(0.05 * 0.95 / COUNT)
    assert abs(income.mean() - 0.1) < SIGMAS * np.sqrt(0.1 * 0.9 / COUNT)
    logs = (np.log(drawn.columns["income"]) - 10.3) / 0.6
    # E[g | null] = E[g 2 Phi(g)] = 1 / sqrt(pi)
    assert abs(logs[income].mean() - 1 / np.sqrt(np.pi)) < SIGMAS / np.sqrt(income.sum())


def test_a_persona_lives_in_its_regions(rng: np.random.Generator) -> None:
    views = rng.standard_normal((COUNT, 5)).astype(np.float32)
    region = demographics(views, np.full(COUNT, 5), Missing(), rng).columns["region"]
    actual = np.bincount(region, minlength=20) / COUNT
    expected = np.full(20, 0.4 / 20)
    expected[15:18] += 0.6 / 3
    assert (np.abs(actual - expected) < SIGMAS * np.sqrt(expected / COUNT)).all()


def test_rows_of_a_customer_have_its_values(drawn: Demographics) -> None:
    customer = np.array([3, 3, 0, 3])
    columns = drawn.of_rows(customer)
    assert list(columns) == [*DEMOGRAPHICS, "region"]
    for name, column in columns.items():
        a, b, _, c = column.to_pylist()
        assert a == b == c, name
    assert columns["education"].dictionary.to_pylist() == list(EDUCATION)
    assert columns["region"].dictionary.to_pylist() == list(REGIONS)
    assert columns["region"].to_pylist()[2] == REGIONS[int(drawn.columns["region"][0])]
