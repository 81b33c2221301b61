"""Seeds of a study, one after the other."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from recsys_mtl.config.section import Section


class SeedsConfig(Section):
    """What is drawn of the data, and in an ablation all else too, is drawn by the seed."""

    first: Annotated[int, Field(ge=0, lt=2**30)] = Field(0, description="the first one")
    count: PositiveInt = Field(3, description="how many, one after the other")

    @property
    def values(self) -> range:
        """All of them."""
        return range(self.first, self.first + self.count)
