"""Visits of customers, with labels that depend on one hidden state.

The state h of a visit (D = 6) is the customer's own state z plus the effect of the merchant. Each
task reads h along its own direction, and the directions overlap: that is what tasks can share.
The features are noisy views of z; the merchant is seen as an id with a Zipf distribution.

    N rows, C customers, M merchants, D width of the state
"""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH = 6
MERCHANTS = 5_000
CATEGORIES = 50
DAYS = 90
FIRST_DAY = datetime.date(2024, 1, 1)
ROW_GROUP = 20_000
DIRECTIONS = {
    "click": (0.8, 0.5, 0.3, 0.0, 0.0, 0.0),
    "conversion": (0.5, 0.0, 0.7, 0.4, 0.0, 0.0),
    "churn": (-0.5, 0.0, 0.0, 0.8, 0.3, 0.0),
    "value": (0.3, 0.0, 0.6, -0.2, 0.6, 0.0),
}
SEGMENTS = ((0.9, 0.0, 0.4), (-0.7, 0.6, 0.0), (0.0, -0.9, 0.4), (0.0, 0.3, -0.9))


def write(out: Path, *, rows_total: int, seed: int) -> Path:
    """Write `out`/demo.parquet, a row group at a time.

    Args:
        out: folder, made where missing.
        rows_total: number of rows.
        seed: the same seed and number of rows give the same file.

    Raises:
        ValueError: fewer than one row.
    """
    if rows_total < 1:
        raise ValueError(f"rows: expected 1 or more, found {rows_total}")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "demo.parquet"
    unfinished = path.with_suffix(".tmp")
    customers = max(1, rows_total // 6)
    writer = None
    for part, first in enumerate(range(0, rows_total, ROW_GROUP)):
        count = min(ROW_GROUP, rows_total - first)
        table = rows(count, customers=customers, seed=seed, part=part)
        writer = writer or pq.ParquetWriter(unfinished, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return unfinished.replace(path)


def rows(count: int, *, customers: int, seed: int, part: int = 0) -> pa.Table:
    """One part of the rows; parts are independent of each other.

    Args:
        count: N.
        customers: C; customers appear in every part.
        seed: of everything.
        part: which part.
    """
    rng = np.random.default_rng([seed, 1, part])
    world = np.random.default_rng([seed, 0])
    effects = 0.5 * world.standard_normal((MERCHANTS, WIDTH))
    share = np.diff(np.log(np.arange(1, MERCHANTS + 1)))  # of ids 1, 2, …
    effects -= share @ effects[1:] / share.sum()  # so that no seed's merchants move the rates
    states = world.standard_normal((customers, WIDTH))
    customer = rng.integers(customers, size=count)
    merchant = _zipf(rng, MERCHANTS, count)
    z = states[customer]
    features = _features(rng, z)
    labels = _labels(rng, (z + effects[merchant]) / np.sqrt(1 + 0.25))
    day = np.datetime64(FIRST_DAY) + rng.integers(DAYS, size=count)
    ids = {
        "customer_id": pa.array(customer),
        "day": pa.array(day),
        "merchant": pa.array(np.char.add("m", merchant.astype(str))),
    }
    return pa.table(ids | features | labels)


def _zipf(rng: np.random.Generator, ids: int, count: int) -> NDArray[np.int64]:
    """Ids from 1 to `ids` - 1 with a probability of about 1 / id."""
    return np.floor(np.exp(rng.uniform(0.0, np.log(ids), count))).astype(np.int64)


def _features(rng: np.random.Generator, z: Floats) -> dict[str, pa.Array]:
    """Noisy views of z (N, D): numbers with nulls and heavy tails, categories, a list."""
    count = len(z)
    seen = 0.85 * z + np.sqrt(1 - 0.85**2) * rng.standard_normal(z.shape)
    rank = np.argsort(np.argsort(seen, axis=0), axis=0) / count  # (N, D) in [0, 1)
    lengths = rng.poisson(4.0, count)
    tastes = np.repeat(rank[:, 1], lengths) + 0.1 * rng.standard_normal(lengths.sum())
    words = np.char.add("c", np.floor(CATEGORIES * (tastes % 1.0)).astype(int).astype(str))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return {
        "age": pa.array(np.round(42 + 12 * seen[:, 0]), mask=rng.random(count) < 0.05),
        "income": pa.array(np.exp(10 + 0.8 * seen[:, 2]), mask=rng.random(count) < 0.1),
        "days_since_visit": pa.array(np.exp(2 + seen[:, 3])),
        "balance": pa.array(500 * seen[:, 4] * np.exp(0.5 * rng.standard_normal(count))),
        "visits": pa.array(rng.poisson(np.exp(0.8 + 0.5 * seen[:, 0]))),
        "device": pa.array(np.array(["web", "app", "shop"])[(3 * rank[:, 0]).astype(int)]),
        "region": pa.array(np.char.add("r", (12 * rank[:, 1]).astype(int).astype(str))),
        "city": pa.array(np.char.add("t", (300 * rank[:, 2]).astype(int).astype(str))),
        "recent_categories": pa.ListArray.from_arrays(offsets, pa.array(words)),
    }


def _labels(rng: np.random.Generator, h: Floats) -> dict[str, pa.Array]:
    """Labels from the hidden state h (N, D); conversion is null where there was no click."""
    count = len(h)
    score = {name: h @ np.array(line) / np.linalg.norm(line) for name, line in DIRECTIONS.items()}

    def draw(name: str, intercept: float, slope: float) -> NDArray[np.bool_]:
        chance: Floats = 1 / (1 + np.exp(-intercept - slope * score[name]))
        return rng.random(count) < chance

    click, churn = draw("click", -3.0, 1.6), draw("churn", -2.75, 1.6)
    conversion = draw("conversion", -2.75, 1.4)
    segment = 2.0 * h[:, :3] @ np.array(SEGMENTS).T + rng.gumbel(size=(count, len(SEGMENTS)))
    value = np.exp(3 + 0.9 * score["value"] + 0.6 * rng.standard_normal(count))
    names = np.array(["browser", "bargain", "loyal", "premium"])
    return {
        "click": pa.array(click.astype(np.int8)),
        "conversion": pa.array(conversion.astype(np.int8), mask=~click),
        "churn": pa.array(churn.astype(np.int8)),
        "segment": pa.array(names[segment.argmax(axis=1)]),
        "value": pa.array(value),
    }
