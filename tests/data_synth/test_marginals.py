"""A thousand rows and a million agree in every marginal, and both with the plan.

A marginal is the mean of some quantity over rows. Its standard error comes from sums over
customers, whose rows are correlated while customers are not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_synth import Plan, Truth, synthesize
from data_synth.relations import relation_matrix
from data_synth.views import COPULA
from data_synth.world import World
from data_synth.zipf import Zipf

pytestmark = pytest.mark.slow

SIGMAS = 5.0  # some 200 comparisons: one data set in 10,000 would pass it by chance
PLAN = (
    "bank16", "tasks.engagement.labelled=0.05", "tasks.churn.label_noise=0.3",
    "tasks.channel.label_noise=0.3", "features.categorical=[10, 1000, 100000]",
)  # fmt: skip
Sizes = dict[int, pl.DataFrame]


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, plan_of: Callable[..., Plan]
) -> dict[int, Path]:
    results = {}
    for rows in (1_000, 1_000_000):
        results[rows] = tmp_path_factory.mktemp(f"rows_{rows}")
        synthesize(plan_of(*PLAN), results[rows], rows=rows, processes=1)
    return results


@pytest.fixture(scope="module")
def sizes(folders: dict[int, Path]) -> Sizes:
    return {rows: pl.read_parquet(out / "rows") for rows, out in folders.items()}


def mean(frame: pl.DataFrame, quantity: pl.Expr) -> tuple[float, float]:
    """Mean of a quantity over the rows where it is not null, and its standard error."""
    seen = frame.select("customer_id", q=quantity.cast(pl.Float64)).drop_nulls()
    middle = seen["q"].mean()
    assert isinstance(middle, float)
    sums = seen.group_by("customer_id").agg((pl.col("q") - middle).sum())["q"].to_numpy()
    # A share that is 0 in the sample: one row more, so that its error is not 0.
    return middle, float(np.sqrt((sums**2).sum() + 1) / len(seen))


def agree(
    sizes: Sizes, quantity: pl.Expr, planned: float | None = None, fitted: float = 0.0
) -> None:
    """Both sizes with each other, and with the plan, whose fit has a standard error of its own."""
    (few, few_se), (many, many_se) = (mean(frame, quantity) for frame in sizes.values())
    assert abs(few - many) < SIGMAS * np.hypot(few_se, many_se), quantity
    if planned is not None:
        assert abs(many - planned) < SIGMAS * np.hypot(many_se, fitted), (quantity, many, planned)


def test_rates(sizes: Sizes) -> None:
    """Intercepts are fitted to 524,288 rows of their own, a twentieth of them clicks."""
    for name, rate in (("ctr", 0.05), ("churn", 0.10), ("retention", 0.90)):
        agree(sizes, pl.col(name), rate, np.sqrt(rate * (1 - rate) / 2**19))
    agree(sizes, pl.col("cvr"), 0.025, np.sqrt(0.025 / (0.05 * 2**19)))


def test_class_shares(sizes: Sizes, world_of: Callable[..., World]) -> None:
    for name in ("life_stage", "channel", "consumption_cycle"):
        for index, share in enumerate(world_of(*PLAN).targets[name].constant()):
            wanted = pl.col(name) == f"class_{index:03}"
            agree(sizes, wanted, float(share), np.sqrt(share / 2**19))
    for item in (0, 10):
        share = world_of(*PLAN).targets["brand_prediction"].constant()[item]
        agree(sizes, pl.col("brand_prediction") == item, float(share), np.sqrt(share / 2**19))


def test_numbers(sizes: Sizes) -> None:
    agree(sizes, pl.col("spending_bucket"), 0.0)
    agree(sizes, pl.col("spending_bucket") ** 2, 1.0)
    agree(sizes, pl.col("ltv").log(), 6.0)
    agree(sizes, (pl.col("ltv").log() - 6.0) ** 2, 1.0)
    agree(sizes, pl.col("balance_util"))
    agree(sizes, pl.col("spending_bucket") * pl.col("merchant_affinity"))


def test_funnel_and_complement(sizes: Sizes) -> None:
    for frame in sizes.values():
        undefined = frame["cvr"].is_null()
        assert undefined.equals(frame["ctr"] != 1, null_equal=True)
        assert (frame["retention"] == 1 - frame["churn"]).all()


def test_label_fraction(sizes: Sizes) -> None:
    agree(sizes, pl.col("engagement").is_not_null(), 0.05)
    agree(sizes, pl.col("engagement"), 0.0)  # at random: the same mean
    for frame in sizes.values():
        assert frame["spending_bucket"].null_count() == 0


def test_label_noise(sizes: Sizes, folders: dict[int, Path]) -> None:
    """In slices of the true score, labels have the oracle's rate, which noise has flattened."""
    truth, frame = Truth.open(folders[1_000_000]), sizes[1_000_000]
    linear = truth.linear(frame["row_id"].to_numpy(), ["churn", "ctr"])
    for name, noise in (("churn", 0.3), ("ctr", 0.0)):
        target = truth.targets[name]
        assert target.noise == noise
        slices = np.digitize(linear[name], np.quantile(linear[name], [0.1, 0.5, 0.9]))
        off = pl.Series(frame[name].to_numpy() - target.predict(linear[name]))
        for number in range(4):
            there = frame.select("customer_id", off=off).filter(slices == number)
            actual, se = mean(there, pl.col("off"))
            fitted = 2 / np.sqrt(2**19)  # of the intercept, in logits, times a rate's slope of 1/4
            assert abs(actual) < SIGMAS * np.hypot(se, fitted / 4)


def test_correlations_of_the_true_scores(
    folders: dict[int, Path], plan_of: Callable[..., Plan]
) -> None:
    """As truth.json has them; scores are at most as skewed as to double a standard error."""
    planned = relation_matrix(plan_of(*PLAN))
    for rows, out in folders.items():
        relation = Truth.open(out).content["relation"]
        effective = rows / (1 + 6 * 0.7)  # were rows of a customer as alike as its state
        assert np.abs(np.array(relation["measured"]) - planned).max() < SIGMAS * 2 / np.sqrt(
            effective
        )


def test_missingness(sizes: Sizes) -> None:
    for name in ("number_01", "number_03", "age"):
        agree(sizes, pl.col(name).is_null(), 0.05)
    for name in ("number_02", "number_04", "income"):
        agree(sizes, pl.col(name).is_null(), 0.1)
    agree(sizes, pl.col("tenure_months").is_null(), 0.0)
    # number_02 is 3 g + 10; large ones are missing: E[g | seen] = -0.1 / sqrt(pi) / 0.9
    agree(sizes, (pl.col("number_02") - 10) / 3, -0.1 / np.sqrt(np.pi) / 0.9)
    # number_01 is exp(0.9 g + 3), missing at random: nothing is shifted
    agree(sizes, (pl.col("number_01").log() - 3) / 0.9, 0.0)


def test_lists(sizes: Sizes) -> None:
    lengths = pl.col("recent_01").list.len()
    agree(sizes, lengths, 4.0)
    agree(sizes, (lengths.cast(pl.Float64) - 4.0) ** 2, 4.0)
    agree(sizes, lengths == 0, float(np.exp(-4.0)))


@pytest.mark.parametrize(("column", "ids"), [("item_01", 1000), ("item_02", 100_000)])
def test_zipf_slope(column: str, ids: int, sizes: Sizes) -> None:
    """Least squares of log count on log rank; a count n has a log of standard error 1/sqrt(n)."""
    zipf = Zipf(ids, 1.1)
    for rows, frame in sizes.items():
        top = 10 if rows == 1000 else 200
        names = zipf.names(np.arange(top, dtype=np.int32))
        counts = np.bincount(frame[column].to_numpy(), minlength=ids)[names]
        assert counts.min() >= 5  # enough for the logarithm to be near normal
        expected = zipf.chances()[:top]
        x = np.log(np.arange(top) + 1.5)
        weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        se = np.sqrt((weights**2 / counts).sum())
        off = weights @ (np.log(counts / rows) - np.log(expected))
        assert abs(off) < SIGMAS * se
        assert -1.3 < weights @ np.log(counts) < -0.5  # about the exponent 1.1, flat at its head


def test_categories_are_used_as_planned(sizes: Sizes) -> None:
    for column, ids in (("category_01", 10), ("category_02", 1000)):
        zipf = Zipf(ids, 1.1)
        for rank in (0, 1, 2, 9):
            name = int(zipf.names(np.array([rank], dtype=np.int32))[0])
            agree(sizes, pl.col(column) == name, float(zipf.chances()[rank]))


def test_drift(sizes: Sizes) -> None:
    """Numeric columns rise by 0.2 standard deviations from the first day to the last."""
    time = (pl.col("day_number").cast(pl.Float64) + 0.5) / 182 - 0.5
    spread = 1 / 12  # of the time, uniform over the days
    agree(sizes, (pl.col("number_01").log() - 3) / 0.9 * time / spread, 0.2)
    for weekday in range(7):
        agree(sizes, pl.col("weekday") == weekday, 1 / 7)


def test_weekly_rhythm_and_drift_of_the_labels(
    sizes: Sizes, world_of: Callable[..., World]
) -> None:
    """The covariance of a label with the movement of its score is the planned share of it."""
    world = world_of(*PLAN)
    day = np.arange(182)
    week = np.sqrt(2) * np.cos(np.pi * (day + 0.5) * 52 / 182)
    drift = np.sqrt(2) * np.cos(np.pi * (day + 0.5) / 182)
    seen = []
    for name, r2 in (("spending_bucket", 0.4), ("merchant_affinity", 0.3)):
        moved = world.movements[:, world.plan.scored.index(name)].astype(np.float64)
        for wave in (week, drift):
            planned = float(np.sqrt(r2 * 0.05) * (wave @ moved) / 182)  # 0.05 of the score is time
            by_day = pl.DataFrame({"day_number": day.astype(np.int16), "wave": wave})
            joined = {rows: frame.join(by_day, on="day_number") for rows, frame in sizes.items()}
            agree(joined, pl.col(name) * pl.col("wave"), planned)
            seen.append(abs(planned) / mean(joined[1_000_000], pl.col(name) * pl.col("wave"))[1])
    assert sum(size > SIGMAS for size in seen) >= 3  # they are there to be seen


def test_demographics(sizes: Sizes) -> None:
    names = ["age", "income", "tenure_months", "household", "education", "region"]
    for frame in sizes.values():
        kinds = frame.group_by("customer_id").agg(pl.col(names).n_unique())
        assert kinds.select(pl.col(names).max()).row(0) == (1,) * 6
        people = frame.unique("customer_id", keep="first").drop_nulls(["age"])
        for a, b in (("age", "tenure_months"), ("age", "household")):
            rho = COPULA[["age", "income", "tenure_months", "household"].index(b), 0]
            rank = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's, of a Gaussian copula
            actual = people.select(pl.corr(a, b, method="spearman")).item()
            ties = 0.05 * rank if b == "household" else 0.002  # six steps; whole years
            assert abs(actual - rank) < SIGMAS / np.sqrt(len(people)) + ties
