"""`DataProfile`: what the rows of each split hold, taken while they are encoded.

Rows of weight 0 do not count. Base rates are weighted; all else counts rows.

Shapes: B rows of a frame, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from recsys_mtl.columns.numbers import Floats, Sample
from recsys_mtl.columns.rows import Rows
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loading import See
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.splits import SPLITS, SplitName
from recsys_mtl.features.feature import Feature
from recsys_mtl.tasks import Label, kind_of

MUCH_NEW = 0.5
"""Share of new values from which on a feature is warned of."""
COPIES, RICH = 0.01, 0.2
"""Share of copied rows from which on they are warned of, where at least this share of the training
rows is distinct: of few columns with few values most rows are copies by nature."""
MOST_DISTINCT = 100_000
"""Distinct numbers are counted up to here."""
_MOST_ROWS = 4_000_000  # whose hashes are held

_HASHED = {"hash": pl.UInt64, "count": pl.Int64}


@dataclass
class _Texts:
    """How often each category occurs, by hash."""

    counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_HASHED))

    def update(self, texts: pl.Series, counts: pl.Series) -> None:
        """Adds a chunk; texts may repeat."""
        both = pl.concat([self.counts, pl.DataFrame([texts.hash(seed=0), counts], _HASHED)])
        self.counts = both.group_by("hash").agg(pl.col("count").sum())

    def new(self, known: _Texts) -> float | None:
        """Share of the values that are not known; None without any."""
        total = int(self.counts["count"].sum())
        others = self.counts.join(known.counts, on="hash", how="anti")
        return int(others["count"].sum()) / total if total else None


@dataclass
class _Numbers:
    """Range, a sample and the distinct values of numbers."""

    low: float = np.inf
    high: float = -np.inf
    rows: int = 0
    distinct: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.Float64))
    sample: Sample = field(default_factory=Sample)

    def update(self, numbers: pl.Series) -> None:
        """Adds a chunk without nulls."""
        values = numbers.to_numpy()
        if not len(values):
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self.sample.update(values, Rows(self.rows, len(values)).hashes)
        self.rows += len(values)
        if len(self.distinct) < MOST_DISTINCT:
            both = pl.concat([self.distinct, numbers]) if len(self.distinct) else numbers
            self.distinct = both.unique()

    def new(self, known: _Numbers) -> float | None:
        """Share of the values outside the known range; None without any."""
        values = self.sample.values
        if not len(values) or not known.rows:
            return None
        return float(np.mean((values < known.low) | (values > known.high)))


@dataclass
class _FeatureProfile:
    """Of one feature, by split."""

    feature: Feature
    rows: dict[SplitName, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    nulls: dict[SplitName, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    values: dict[SplitName, _Texts | _Numbers] = field(default_factory=dict)

    def update(self, split: SplitName, values: pl.Series) -> None:
        entries = self.feature.entries(values)
        counts = pl.repeat(1, len(entries), dtype=pl.Int64, eager=True)
        if self.feature.reads == "text" and not entries.dtype.is_nested():
            counted = entries.alias("value").value_counts(name="count")
            entries, counts = counted["value"], counted["count"].cast(pl.Int64)
        compared = self.feature.compared(entries)
        compared = compared.fill_nan(None) if compared.dtype.is_float() else compared
        present = compared.is_not_null()
        nested = values.dtype.is_nested()
        missing = values.null_count() if nested else counts.filter(~present).sum()
        self.rows[split] += len(values)
        self.nulls[split] += int(missing)
        known, counts = compared.filter(present), counts.filter(present)
        held = self.values.get(split)
        if known.dtype.is_numeric():
            held = held if isinstance(held, _Numbers) else _Numbers()
            held.update(known.cast(pl.Float64))
        else:
            held = held if isinstance(held, _Texts) else _Texts()
            held.update(known.cast(pl.String), counts)
        self.values[split] = held

    @cached_property
    def new(self) -> dict[str, float | None]:
        """Share of a split's values that training rows do not have, or that leave their range."""
        return {split: self._new(split) for split in SPLITS[1:]}

    def _new(self, split: SplitName) -> float | None:
        ours, train = self.values.get(split), self.values.get("train")
        if isinstance(ours, _Texts) and isinstance(train, _Texts):
            return ours.new(train)
        if isinstance(ours, _Numbers) and isinstance(train, _Numbers):
            return ours.new(train)
        return None

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        train = self.values.get("train")
        shares = {s: self.nulls[s] / self.rows[s] for s in SPLITS if self.rows[s]}
        described: dict[str, Any] = {"kind": self.feature.kind, "nulls": shares}
        if isinstance(train, _Texts):
            described["distinct"] = train.counts.height
        elif isinstance(train, _Numbers):
            described["distinct"] = min(len(train.distinct), MOST_DISTINCT)
            if train.rows:
                described["range"] = [train.low, train.high]
        return described | self.feature.facts | {"new": self.new}


@dataclass
class _LabelProfile:
    """Of one task's labels, by split."""

    label: Label
    labelled: dict[SplitName, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    mass: dict[SplitName, float] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0.0))
    sums: dict[SplitName, Any] = field(default_factory=dict)

    def update(self, split: SplitName, labels: Floats, weights: Floats) -> None:
        rows = ~np.isnan(labels)
        labels, weights = labels[rows], weights[rows]
        if not len(labels):
            return
        spec = self.label.spec
        mean = kind_of(spec.kind).constant(spec, labels, weights, self.label.to_unit)
        mass = float(weights.sum())
        self.labelled[split] += len(labels)
        self.mass[split] += mass
        self.sums[split] = self.sums.get(split, 0.0) + mass * mean

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            split: {
                "labelled": self.labelled[split],
                "base_rate": self.label.base_rate(self.sums[split] / self.mass[split])
                if split in self.sums
                else {},
            }
            for split in SPLITS
        }


class DataProfile:
    """Labels, features and copied rows of each split; `watch` is given to `prepare`."""

    def __init__(self) -> None:
        self._features: list[_FeatureProfile] = []
        self._labels: list[_LabelProfile] = []
        nothing = pl.Series([], dtype=pl.UInt64)
        self._hashes: dict[SplitName, list[pl.Series]] = {split: [nothing] for split in SPLITS}
        self._columns: list[str] = []
        self._share = 1.0
        self._rows: dict[SplitName, int] = dict.fromkeys(SPLITS, 0)

    def watch(self, preprocessor: Preprocessor, rows: int) -> See:
        """What is shown every row of `rows` that is encoded."""
        self._features = [_FeatureProfile(f) for f in preprocessor.features if not f.derived]
        self._labels = [_LabelProfile(label) for label in preprocessor.labels.values()]
        labels = [label.column for label in preprocessor.labels.values()]
        self._columns = list(dict.fromkeys([*preprocessor.columns(labels=False), *labels]))
        self._share = min(1.0, _MOST_ROWS / max(rows, 1))
        return self._see

    def _see(self, split: SplitName, frame: pl.DataFrame, batch: Batch) -> None:
        labels = [batch.targets(i, of.label.task).numpy() for i, of in enumerate(self._labels)]
        self.add(split, frame, np.column_stack(labels), batch.weights.numpy())

    def add(self, split: SplitName, frame: pl.DataFrame, labels: Any, weights: Any) -> None:
        """Raw rows (B) with labels (B, T) and weights (B,)."""
        counted = weights > 0
        if not counted.all():
            frame, labels, weights = frame.filter(counted), labels[counted], weights[counted]
        self._rows[split] += frame.height
        for feature in self._features:
            feature.update(split, feature.feature.read(frame))
        for column, label in enumerate(self._labels):
            label.update(split, labels[:, column].astype(np.float64), weights.astype(np.float64))
        hashes = _hash_rows(frame[self._columns])
        if self._share < 1:
            hashes = hashes.filter(hashes < int(self._share * 2.0**64))
        self._hashes[split].append(hashes)

    @property
    def seen(self) -> bool:
        """Whether training rows were shown."""
        return self._rows["train"] > 0

    def numbers(self) -> dict[str, Any]:
        """JSON-able: `labels`, `features` and `copies`."""
        return {
            "labels": {label.label.task: label.numbers() for label in self._labels},
            "features": {f.feature.name: f.numbers() for f in self._features},
            "copies": self._copies[0],
        }

    def warnings(self) -> list[str]:
        """What is probably not intended."""
        found = [
            warning for feature in self._features if (warning := _new_values(feature)) is not None
        ]
        copies, distinct = self._copies
        worst = max(copies, key=lambda split: copies[split] or 0.0)
        share = copies[worst] or 0.0
        if share >= COPIES and distinct >= RICH:
            found.append(
                f"{share:.1%} of the {worst} rows are copies of rows of an earlier split, features "
                "and labels alike: metrics there measure memory; drop them, or split by group"
            )
        return found

    @cached_property
    def _copies(self) -> tuple[dict[str, float | None], float]:
        """Share of a split's rows that an earlier split has too; distinct training rows' share."""
        every = {split: pl.concat(hashes) for split, hashes in self._hashes.items()}
        earlier = every["train"].unique()
        distinct = len(earlier) / max(len(every["train"]), 1)
        copies: dict[str, float | None] = {}
        for split in SPLITS[1:]:
            rows = every[split]
            copies[split] = (
                float(rows.is_in(earlier.implode()).sum() / len(rows)) if len(rows) else None
            )
            earlier = pl.concat([earlier, rows])
        return copies, distinct


def _new_values(profile: _FeatureProfile) -> str | None:
    shares = {split: share or 0.0 for split, share in profile.new.items()}
    worst = max(shares, key=lambda split: shares[split])
    if shares[worst] < MUCH_NEW:
        return None
    train = profile.values["train"]
    what = (
        f"lie outside the training rows' range, {train.low:g} to {train.high:g}"
        if isinstance(train, _Numbers)
        else "never occur in training rows"
    )
    return (
        f"feature '{profile.feature.name}': {shares[worst]:.0%} of the {worst} values {what}: "
        "a model cannot know what they mean; check the split, or list it in data.ignore"
    )


def _hash_rows(frame: pl.DataFrame) -> pl.Series:
    """(B,) hashes; columns of numbers as float64, as splits may store them in several types."""
    plain = frame.with_columns(
        (cs.numeric() | cs.boolean()).cast(pl.Float64, strict=False),
        (cs.categorical() | cs.by_dtype(pl.Enum)).cast(pl.String),
    )
    return plain.hash_rows(seed=0)
