"""Numeric features."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.few import FewColumns
from recsys_mtl.columns.numbers import Floats, Moments, Sample, are_numbers, read_known
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.transforms import (
    filled_edges,
    normal_score,
    piecewise_coordinate,
    signed_log1p,
    standardize,
)
from recsys_mtl.config.features import (
    FeatureConfig,
    LinearEmbeddingConfig,
    NumericConfig,
    PeriodicEmbeddingConfig,
    PiecewiseConfig,
)
from recsys_mtl.features.dense import DenseFeature
from recsys_mtl.features.feature import Observed
from recsys_mtl.features.inputs import InputModule
from recsys_mtl.features.number_embedding import EmbeddingSettings
from recsys_mtl.features.numeric_columns import NumericColumns, NumericSpec

QUANTILES = 1001
LARGEST = 1e150
"""Magnitudes are limited to this one: no statistic overflows."""

logger = logging.getLogger(__name__)


@dataclass
class NumericFeature(DenseFeature):
    """A number becomes one float32 column, with an indicator if needed.

    `piecewise` encodes the position on the axis of bins, which the network expands to the bins.

    A missing value (null, NaN) is imputed with the training median before the transform; the last
    column is 1 for missing where training had missing values. A feature that was constant in
    training is all zeros. `standardize` and `log1p` clip at ±10 standard deviations.

    Attributes:
        transform: standardize, log1p (signed, then standardised), quantile (normal score),
            piecewise (linear encoding over filled bins) or none.
        bins: bins of piecewise; a column of fewer distinct values has fewer.
        median, mean, sd: of the training values; mean and sd after the logarithm of log1p.
        edges: quantiles or bin edges.
        constant: whether training held one value only, or none.
        indicator: whether training had missing values.
        null_values: texts of values that mean missing; with any, the column may be text.
        embedding: how the network embeds it.
    """

    kind: ClassVar[str] = "numeric"
    reads: ClassVar[Literal["text", "numbers"]] = "numbers"
    dtype: ClassVar[pl.DataType] = pl.Float64()
    transform: str
    bins: int = 16
    median: float = 0.0
    mean: float = 0.0
    sd: float = 0.0
    edges: list[float] = field(default_factory=list)
    constant: bool = False
    indicator: bool = False
    null_values: list[str] = field(default_factory=list)
    embedding: EmbeddingSettings | None = None
    _moments: Moments = field(default_factory=Moments, init=False, repr=False, compare=False)
    _sample: Sample = field(default_factory=Sample, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column."""
        assert isinstance(section, NumericConfig)
        feature = cls(column, section.transform.name, null_values=section.null_values)
        if isinstance(section.transform, PiecewiseConfig):
            feature.bins = section.transform.bins
        match section.embedding:
            case LinearEmbeddingConfig(dim=dim, activation=activation):
                feature.embedding = EmbeddingSettings(dim, activation)
            case PeriodicEmbeddingConfig(dim=dim, frequencies=count, sigma=sigma):
                feature.embedding = EmbeddingSettings(dim, frequencies=count, sigma=sigma)
        return feature

    @property
    def csv_types(self) -> frozenset[Literal["text", "numbers"]]:
        """Numbers; text too where a word may mean missing."""
        return frozenset({"numbers"} if are_numbers(self.null_values) else {"numbers", "text"})

    @property
    def raw_dtype(self) -> pl.DataType:
        """A number; text where a word may mean missing."""
        return self.dtype if are_numbers(self.null_values) else pl.String()

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return 1 + self.indicator

    @property
    def spec(self) -> NumericSpec:
        """Columns of numbers; the first one may stand for bins."""
        piecewise = self.transform == "piecewise" and not self.constant
        bins = len(self.edges) - 1 if piecewise else 0
        return NumericSpec(self.name, self.kind, self.width, bins=bins, embedding=self.embedding)

    @property
    def facts(self) -> dict[str, Any]:
        """The bins of `piecewise`, asked for and got."""
        got = max(len(self.edges) - 1, 0)
        return {"bins": {"asked": self.bins, "got": got}} if self.transform == "piecewise" else {}

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training values."""
        numbers = self._read(values, rows)
        present = ~np.isnan(numbers)
        hashes, weights = rows.hashes, rows.weights
        if not present.all():
            self.indicator = True
            numbers, hashes = numbers[present], hashes[present]
            weights = rows.weights_of(present)
        self._sample.update(numbers, hashes, weights)
        scaled = signed_log1p(numbers) if self.transform == "log1p" else numbers
        self._moments.update(scaled, weights)

    def finish(self) -> None:
        """Ends the fit: statistics are exact, median and quantiles those of ≤ 200,000 rows."""
        if not self._moments.count:
            logger.warning("column '%s' has no value in the training rows", self.column)
        sample = self._sample
        self.median = sample.median()
        self.mean, self.sd = float(self._moments.mean), self._moments.sd
        self.constant = not self.sd > np.finfo(np.float64).tiny
        if self.transform == "quantile" and not self.constant:
            count = min(QUANTILES, len(sample))
            self.edges = sample.quantiles(np.linspace(0, 1, count)).tolist()
        if self.transform == "piecewise" and not self.constant:
            edges = np.unique(sample.quantiles(np.linspace(0, 1, self.bins + 1)))
            if len(edges) <= self.bins:  # several fell on one value
                edges = filled_edges(*sample.rows(), self.bins)
            self.edges = edges.tolist()
            self.constant = len(self.edges) < 2
            if len(edges) <= self.bins:
                text = "column '%s': bins %d asked, %d got (%d distinct values)"
                logger.info(text, self.column, self.bins, len(edges) - 1, len(edges))
        self._moments, self._sample = Moments(), Sample()

    def encode(self, values: pl.Series, rows: Rows) -> NDArray[np.float32]:
        """(B, width) float32, finite.

        Raises:
            UserError: the column is not of numbers, or holds an infinite value.
        """
        return self._encoded(self._read(values, rows))

    def encode_few(self, columns: FewColumns) -> NDArray[np.float32] | None:
        """(B, width) float32, finite."""
        column = columns[self.column]
        if self.null_values or not column.numbers:
            return None
        try:
            numbers = np.array(column.values, np.float64)
        except OverflowError:
            return None
        infinite = np.isinf(numbers).any()
        return None if infinite else self._encoded(np.clip(numbers, -LARGEST, LARGEST))

    def _encoded(self, numbers: Floats) -> NDArray[np.float32]:
        missing = np.isnan(numbers)
        encoded = np.zeros((len(numbers), self.width), np.float32)
        if not self.constant:
            encoded[:, 0] = self._transformed(np.where(missing, self.median, numbers))
        if self.indicator:
            encoded[:, -1] = missing
        return encoded

    @classmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) float64."""
        return values.cast(pl.Float64, strict=False)

    def compared(self, entries: pl.Series) -> pl.Series:
        """(B,) raw numbers, NaN where missing."""
        return pl.Series(self._read(entries, Rows(0, len(entries))))

    def observed(self, values: pl.Series, rows: Rows, part: Tensor) -> dict[Observed, NDArray[Any]]:
        """(B,) raw numbers, NaN for null."""
        return {"feature": self._numbers(values, rows)}

    @classmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule:
        """The encoded columns; bins where a column stands for them."""
        return NumericColumns(features)

    @classmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> NDArray[Any]:
        """(B, width) normal numbers, those of `piecewise` about the axis of bins."""
        numbers = super().random_part(feature, rows, longest, generator)
        bins = feature.bins if isinstance(feature, NumericSpec) else 0
        numbers[:, :1] += bins * torch.rand(rows, 1, generator=generator).numpy()
        return numbers

    def _read(self, values: pl.Series, rows: Rows) -> Floats:
        return np.clip(self._numbers(values, rows), -LARGEST, LARGEST)

    def _numbers(self, values: pl.Series, rows: Rows) -> Floats:
        where = f"column '{self.column}'"
        return read_known(values, self.null_values, where=where, rows=rows)

    def _transformed(self, numbers: Floats) -> Floats:
        match self.transform:
            case "standardize":
                return standardize(numbers, self.mean, self.sd)
            case "log1p":
                return standardize(signed_log1p(numbers), self.mean, self.sd)
            case "quantile":
                return normal_score(numbers, np.array(self.edges))
            case "piecewise":
                return piecewise_coordinate(numbers, np.array(self.edges))
        largest = np.finfo(np.float32).max
        return np.clip(numbers, -largest, largest)
