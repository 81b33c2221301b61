"""A kind of feature that the package does not know: vectors of a fixed width.

With `project` it brings a layer of its own: all vectors go through one linear map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor, nn

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.errors import wrong
from recsys_mtl.features.block import FeatureBlock, Numbers
from recsys_mtl.features.dense import DenseFeature
from recsys_mtl.features.inputs import InputModule, NumberColumns
from recsys_mtl.features.registry import register, unregister


class ProfileConfig(FeatureConfig):
    """A list of so many numbers a row; null is the mean vector."""

    kind: Literal["profile"]
    size: PositiveInt
    project: PositiveInt | None = None


@dataclass(frozen=True)
class ProfileSpec(FeatureSpec):
    """With the width that a vector is projected to."""

    project: int | None = None


class Projected(InputModule):
    """Each vector through a linear map of its own."""

    def __init__(self, features: Sequence[ProfileSpec]) -> None:
        super().__init__()
        self.layouts = (Numbers.layout,)
        self._names = [feature.name for feature in features]
        self.maps = nn.ModuleList(nn.Linear(f.width, f.project) for f in features)
        self.widths = tuple(feature.project for feature in features)

    def forward(self, blocks: Mapping[str, FeatureBlock]) -> Tensor:
        vectors = [blocks[Numbers.layout][name] for name in self._names]
        mapped = [layer(vector) for layer, vector in zip(self.maps, vectors, strict=True)]
        return torch.cat(mapped, 1)


@dataclass
class ProfileFeature(DenseFeature):
    """Profiles less their mean."""

    kind: ClassVar[str] = "profile"
    reads: ClassVar[Literal["text", "numbers"]] = "text"
    dtype: ClassVar[pl.DataType] = pl.List(pl.Float64())
    size: int
    project: int | None = None
    mean: list[float] = field(default_factory=list)
    _sums: Any = field(default=0.0, init=False, repr=False, compare=False)
    _count: int = field(default=0, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> ProfileFeature:
        assert isinstance(section, ProfileConfig)
        return cls(column, section.size, section.project)

    @property
    def width(self) -> int:
        return self.size

    @property
    def spec(self) -> ProfileSpec:
        return ProfileSpec(self.name, self.kind, self.width, project=self.project)

    def update(self, values: pl.Series, rows: Rows) -> None:
        known = self._read(values)
        self._sums = self._sums + np.nansum(known, 0)
        self._count += int((~np.isnan(known[:, 0])).sum())

    def finish(self) -> None:
        self.mean = (self._sums / max(self._count, 1)).tolist()

    def encode(self, values: pl.Series, rows: Rows) -> NDArray[np.float32]:
        return np.nan_to_num(self._read(values) - np.array(self.mean)).astype(np.float32)

    @classmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        return values.cast(pl.List(pl.String)).list.join(" ")

    def observed(self, values: pl.Series, rows: Rows, part: Tensor) -> dict[str, NDArray[Any]]:
        return {"length": part.norm(dim=1).numpy()}

    @classmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule:
        if any(feature.project is None for feature in features):
            return NumberColumns(features, Numbers)
        return Projected(features)

    def _read(self, values: pl.Series) -> NDArray[np.float64]:
        """(B, size), NaN where a row is null."""
        if not isinstance(values.dtype, pl.List | pl.Array):
            where = f"column '{self.column}'"
            raise wrong("no vectors", where=where, expected="lists", found=values.dtype)
        rows = values.to_list()
        return np.array([[np.nan] * self.size if r is None else r for r in rows]).reshape(
            len(rows), self.size
        )


@contextmanager
def profiles() -> Iterator[None]:
    """The kind is known inside."""
    register(ProfileConfig, ProfileFeature)
    try:
        yield
    finally:
        unregister(ProfileConfig, ProfileFeature)
