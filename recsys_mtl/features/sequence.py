"""Sequences: lists of ids in the order of time, with other columns that go with their entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import polars as pl
import torch
from numpy.typing import NDArray

from recsys_mtl.columns.sequences import Attribute, EncoderSettings, SequenceSpec
from recsys_mtl.columns.spec import FeatureSpec, TableSpec
from recsys_mtl.config.features import (
    FeatureConfig,
    SequenceConfig,
    SequenceIdsConfig,
)
from recsys_mtl.config.tables import part_of
from recsys_mtl.features.block import FeatureBlock, SequenceIds
from recsys_mtl.features.categorical_list import ListFeature
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.sequence_attributes import (
    Newest,
    SequenceIdsFeature,
    SequenceNumbersFeature,
    kept_newest,
    random_ids,
)
from recsys_mtl.features.table import coder_of, dim_of


@dataclass
class SequenceFeature(ListFeature):
    """A list of ids in the order of time, whose entries an encoder of the network reads.

    Attributes:
        max_length: longer sequences keep their newest entries.
        newest: where the newest entry is in a raw list.
        target: feature of the candidate that entries are compared with; empty: none.
        encoder: of the entries.
        ids: names of the attributes that have tables, and their targets.
        numbers: names of the attributes that are numbers.
    """

    kind: ClassVar[str] = "sequence"
    block: ClassVar[type[FeatureBlock]] = SequenceIds
    max_length: int
    separator: str | None = None
    newest: Newest = "last"
    target: str = ""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    ids: list[list[str]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column; its attributes come with `companions`."""
        assert isinstance(section, SequenceConfig)
        return cls(
            column,
            dim_of(section, default_dim),
            coder_of(section),
            section.max_length,
            section.separator,
            section.newest,
            section.target or "",
            EncoderSettings(**section.encoder.model_dump()),
            of_table=section.table or "",
        )

    @property
    def spec(self) -> SequenceSpec:
        """A table whose rows are not pooled."""
        table = TableSpec(self.name, self.coder.rows, self.dim, "none", table=self.of_table)
        return SequenceSpec(
            self.name,
            self.kind,
            tables=(table,),
            encoder=self.encoder,
            max_length=self.max_length,
            target=self.target,
            ids=tuple(Attribute(name, target) for name, target in self.ids),
            numbers=tuple(self.numbers),
        )

    def companions(
        self,
        section: FeatureConfig,
        sections: Mapping[str, FeatureConfig],
        others: Mapping[str, Feature],
    ) -> list[Feature]:
        """Its length, then its attributes."""
        attributes: list[Feature] = []
        for part in section.parts:
            name = part_of(self.name, part)
            feature, of_part = others[name], sections[name]
            assert isinstance(feature, SequenceIdsFeature | SequenceNumbersFeature)
            feature.follow(self.name, self, self.newest)
            attributes.append(feature)
            if isinstance(of_part, SequenceIdsConfig):
                self.ids.append([name, of_part.target or ""])
            else:
                self.numbers.append(name)
        return [*super().companions(section, sections, others), *attributes]

    def kept(self, lists: pl.Series) -> pl.Series:
        """The newest entries."""
        return kept_newest(lists, self.max_length, self.newest)

    @classmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Sequences of rows of the table, as long as those of their attributes."""
        return random_ids(feature, rows, longest, generator)
