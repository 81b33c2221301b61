"""Ids and lists of ids with Zipf-like use.

A view is cut into intervals of Zipf probabilities: each id stands for one, frequent ids for wide
ones. The ids' names do not show their order.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.special import ndtr

from data_synth.plan import Features
from data_synth.state import Floats32
from data_synth.targets.base import Rng
from data_synth.zipf import Zipf

_LOYALTY = 0.6  # share of the variance of a list's entries that they have in common


def categories(views: Floats32, features: Features) -> dict[str, pa.Array]:
    """Columns category_01 … from views (R, V)."""
    columns = {}
    for index, (ids, view) in enumerate(
        zip(features.categorical, np.ascontiguousarray(views.T), strict=True)
    ):
        zipf = Zipf(ids, features.zipf)
        columns[f"category_{index + 1:02}"] = pa.array(zipf.names(zipf.ranks(ndtr(view))))
    return columns


def lists(views: Floats32, features: Features, rng: Rng) -> dict[str, pa.Array]:
    """Columns recent_01 … from views (R, V): lists of ids around the row's taste, some empty."""
    columns = {}
    for index, (ids, view) in enumerate(
        zip(features.lists, np.ascontiguousarray(views.T), strict=True)
    ):
        lengths = rng.poisson(features.list_length, len(view)).astype(np.int32)
        offsets = np.zeros(len(view) + 1, dtype=np.int32)
        np.cumsum(lengths, out=offsets[1:])
        entries = rng.standard_normal(offsets[-1], dtype=np.float32)
        entries *= np.float32(np.sqrt(1 - _LOYALTY))
        entries += np.float32(np.sqrt(_LOYALTY)) * np.repeat(view, lengths)
        zipf = Zipf(ids, features.zipf)
        values = pa.array(zipf.names(zipf.ranks(ndtr(entries))))
        columns[f"recent_{index + 1:02}"] = pa.ListArray.from_arrays(pa.array(offsets), values)
    return columns
