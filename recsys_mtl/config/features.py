"""The sections of features: one typed section a kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from recsys_mtl.config.section import Section


class CategoricalConfig(Section):
    """A feature that takes one of many values; each becomes a row of an embedding table."""

    kind: Literal["categorical"]
    encoding: Literal["vocabulary", "hash"] = Field(
        "vocabulary", description="vocabulary fitted on the training rows, or hashed buckets"
    )
    buckets: PositiveInt | None = Field(None, description="number of buckets of `hash`")
    min_count: PositiveInt = Field(1, description="rarer training values share the unknown row")
    max_size: PositiveInt | None = Field(None, description="keep only the most frequent values")
    dim: PositiveInt | None = Field(
        None, description="embedding width; model.embedding.dim if null"
    )
    null_values: list[str] = Field([], description="values that mean missing, beside null")

    @model_validator(mode="after")
    def _buckets_belong_to_hash(self) -> CategoricalConfig:
        if self.encoding == "hash" and self.buckets is None:
            raise ValueError("encoding hash needs buckets")
        if self.encoding == "vocabulary" and self.buckets is not None:
            raise ValueError("buckets belongs to encoding: hash")
        return self


class CategoricalListConfig(CategoricalConfig):
    """A list-valued categorical feature (recent merchants); its embeddings are pooled."""

    kind: Literal["categorical_list"]  # type: ignore[assignment]
    pooling: Literal["mean", "sum"] = Field("mean", description="how a list becomes one vector")
    max_length: PositiveInt = Field(50, description="longer lists keep their first values")
    separator: str | None = Field(None, description="splits a text column into a list (CSV)")


class NumericConfig(Section):
    """A number; null is imputed with the training median and flagged by an indicator."""

    kind: Literal["numeric"]
    transform: Literal["standardize", "log1p", "quantile", "piecewise", "none"] = Field(
        "standardize",
        description="log1p is signed and then standardised; quantile maps to a normal score; "
        "piecewise is the piecewise-linear encoding over quantile bins (Gorishniy et al. 2022)",
    )
    bins: Annotated[int, Field(ge=2, le=256)] = Field(16, description="bins of `piecewise`")


FeatureConfig = Annotated[
    CategoricalConfig | CategoricalListConfig | NumericConfig, Field(discriminator="kind")
]
