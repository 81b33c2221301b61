"""Sequences: lists of ids in the order of time, with other columns that go with their entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from recsys_mtl.columns.sequences import Attribute, EncoderSettings, SequenceSpec
from recsys_mtl.config.features import (
    FeatureConfig,
    SequenceConfig,
    SequenceIdsConfig,
)
from recsys_mtl.config.tables import part_of
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.sequence_attributes import (
    Newest,
    SequenceIdsBase,
    SequenceIdsFeature,
    SequenceNumbersFeature,
)
from recsys_mtl.features.table import coder_of, dim_of


@dataclass
class SequenceFeature(SequenceIdsBase):
    """A list of ids in the order of time, whose entries an encoder of the network reads.

    Attributes:
        target: feature of the candidate that entries are compared with; empty: none.
        encoder: of the entries.
        ids: names of the attributes that have tables, and their targets.
        numbers: names of the attributes that are numbers.
    """

    kind: ClassVar[str] = "sequence"
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
        return SequenceSpec(
            self.name,
            self.kind,
            tables=(self.read_of_table,),
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
