"""Rows with labels that trees can learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from tests.encoded import data_spec, encoded

TASKS = (
    TaskSpec("click", "binary", 1),
    TaskSpec("band", "multiclass", 4),
    TaskSpec("spend", "regression", 1),
    TaskSpec("item", "retrieval", 8, items=5),
)
SPEC = data_spec(
    tables=(TableSpec("city", 12, 4), TableSpec("shop", 1000, 4)),
    lists=(TableSpec("seen", 20, 4),),
    numeric=3,
    tasks=TASKS,
)
INVERSES = {task.name: lambda values: values for task in TASKS}
INVERSES["spend"] = lambda values: 10 * values + 100


def rows(count: int, seed: int) -> Batch:
    """Labels that depend on a category, a number, an id and a list, none of them linearly."""
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(count, 3)).astype(np.float32)
    ids = np.column_stack([random.integers(0, 12, count), random.integers(0, 1000, count)])
    lengths = random.integers(0, 4, count)
    lists = random.integers(0, 20, int(lengths.sum()))
    odd = np.bincount(np.repeat(np.arange(count), lengths), lists % 2, count)
    odd_city = ids[:, 0] % 2
    labels = np.column_stack(
        [
            (odd_city + random.normal(0, 0.3, count) > 0.5),
            (numeric[:, 0] > 0) + 2 * (ids[:, 1] > 500),
            odd + lengths + random.normal(0, 0.1, count),
            random.choice([0, 1, 2, 3, 4], count, p=[0.1, 0.1, 0.5, 0.2, 0.1]),
        ]
    ).astype(np.float32)
    labels[random.random(labels.shape) < 0.2] = math.nan
    return encoded(
        SPEC,
        numeric=torch.from_numpy(numeric),
        ids=torch.from_numpy(ids),
        lists=(torch.from_numpy(lists),),
        lengths=torch.from_numpy(lengths[:, None]),
        labels=torch.from_numpy(labels),
        weights=torch.from_numpy(random.integers(0, 3, count).astype(np.float32)),
    )


def with_labels(batch: Batch, labels: torch.Tensor) -> Batch:
    return replace(batch, labels=labels)


TRAIN, VALID, TEST = rows(1500, 0), rows(400, 1), rows(400, 2)


def labels_of(batch: Batch, name: str) -> np.ndarray:
    labels = batch.labels[:, [task.name for task in TASKS].index(name)].numpy()
    return INVERSES["spend"](labels) if name == "spend" else labels
