"""The sections of features: one typed section a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from recsys_mtl.config.named import NamedConfig, NamedUnion, name_of
from recsys_mtl.config.open_union import Members, OpenUnion
from recsys_mtl.config.section import NonNegative, Value
from recsys_mtl.config.sequences import MeanEncoderConfig, SequenceEncoderConfig


class FeatureConfig(OpenUnion):
    """A feature of one of the registered kinds."""

    members: ClassVar[Members] = {}
    has_table: ClassVar[bool] = False
    """Whether its values are rows of an embedding table."""

    kind: str
    column: str | None = Field(None, description="column that it reads; the feature's name if null")

    @property
    def feature_kind(self) -> str:
        """The kind of its feature."""
        return self.kind

    @property
    def parts(self) -> Mapping[str, FeatureConfig]:
        """Other columns that belong to it, by name."""
        return {}

    @property
    def layer(self) -> tuple[int, int]:
        """Inputs and outputs, at least, of a layer in front of the experts; (0, 1): none."""
        return 0, 1

    def encoder_sizes(self, entry: int, query: int) -> tuple[int, int]:
        """Weights, at least, and outputs of an encoder, see `SequenceEncoderConfig.sizes`."""
        return 0, entry

    def raw(self) -> FeatureConfig:
        """The same column with the least possible encoding, for baselines."""
        return self


class CategoryConfigBase(FeatureConfig):
    """What every feature with categories has."""

    has_table: ClassVar[bool] = True

    table: str | None = Field(
        None,
        description="embedding table; features of one table share its rows and its vocabulary; "
        "the feature's name if null",
    )
    encoding: Literal["vocabulary", "hash", "id"] = Field(
        "vocabulary",
        description="vocabulary fitted on the training rows; hashed buckets; or `id`: the values "
        "are integers from 0 to rows - 1 already, all else is unknown",
    )
    rows: PositiveInt | None = Field(None, description="number of ids of `id`")
    buckets: PositiveInt | None = Field(None, description="number of buckets of `hash`")
    min_count: PositiveInt | Literal["auto"] = Field(
        1,
        description="values of fewer rows share the unknown row; auto: 2 if values seen once hold "
        "at least 1 % of the training rows (about the share of new values to expect), else 1",
    )
    max_size: PositiveInt | None = Field(
        None, description="keep the most frequent values, by weight"
    )
    storage: Literal["auto", "memory", "file"] = Field(
        "auto",
        description="of the vocabulary: memory, fitted on data.fit_rows; file, memory-mapped and "
        "counted over all training rows; auto: file from five million values on",
    )
    dim: PositiveInt | Literal["auto"] | None = Field(
        None, description="embedding width or auto; model.embedding.dim if null"
    )
    unknown_dropout: NonNegative | None = Field(
        None, description="0 for none; model.embedding.unknown_dropout if null"
    )
    null_values: list[Value] = Field([], description="values that mean missing, as null does")

    @model_validator(mode="after")
    def _settings_belong_to_the_encoding(self) -> Self:
        if self.encoding == "hash" and self.buckets is None:
            raise ValueError("encoding hash needs buckets")
        if self.encoding != "hash" and self.buckets is not None:
            raise ValueError("buckets belongs to encoding: hash")
        if self.encoding == "id" and self.rows is None:
            raise ValueError("encoding id needs rows")
        if self.encoding != "id" and self.rows is not None:
            raise ValueError("rows belongs to encoding: id")
        if self.encoding != "vocabulary" and self.storage != "auto":
            raise ValueError("storage belongs to encoding: vocabulary")
        if self.encoding != "vocabulary" and self.unknown_dropout:
            raise ValueError("unknown_dropout needs encoding: vocabulary, which counts values")
        return self


@FeatureConfig.register
class CategoricalConfig(CategoryConfigBase):
    """A feature that takes one of many values; each becomes a row of an embedding table."""

    kind: Literal["categorical"]


class ListConfigBase(CategoryConfigBase):
    """What every feature with lists has."""

    length: bool = Field(
        True, description="whether log1p of the whole list's length is an input of its own"
    )
    share_of: str | None = Field(
        None, description="another list; the share of its length that this one has is an input too"
    )
    separator: str | None = Field(None, description="splits a text column into a list (CSV)")


@FeatureConfig.register
class CategoricalListConfig(ListConfigBase):
    """A list-valued categorical feature (recent merchants); its embeddings are pooled."""

    kind: Literal["categorical_list"]
    pooling: Literal["mean", "sum"] = Field("mean", description="how a list becomes one vector")
    max_length: PositiveInt = Field(50, description="longer lists keep their first values")


class EntriesConfigBase(CategoryConfigBase):
    """What a sequence and its ids have: entries that may be compared with a candidate."""

    target: str | None = Field(
        None, description="categorical feature of the same table that entries are compared with"
    )


class SequenceIdsConfig(EntriesConfigBase):
    """Ids that go with the entries of a sequence, such as the item's category."""

    kind: Literal["categorical"]

    @property
    def feature_kind(self) -> str:
        """The kind of its feature."""
        return "sequence_ids"


class SequenceNumbersConfig(FeatureConfig):
    """Numbers that go with the entries of a sequence, such as the time since; null is the mean."""

    kind: Literal["numeric"]
    transform: Literal["standardize", "log1p", "none"] = Field(
        "log1p", description="how it is encoded; log1p is signed and then standardised"
    )

    @property
    def feature_kind(self) -> str:
        """The kind of its feature."""
        return "sequence_numbers"


AttributeConfig = Annotated[SequenceIdsConfig | SequenceNumbersConfig, Field(discriminator="kind")]


@FeatureConfig.register
class SequenceConfig(EntriesConfigBase, ListConfigBase):
    """A list of ids in the order of time, such as the items that a user watched."""

    kind: Literal["sequence"]
    encoder: SequenceEncoderConfig = Field(
        MeanEncoderConfig(name="mean"),
        description="how it becomes one vector; a name, or a mapping with `name`",
    )
    max_length: PositiveInt = Field(50, description="longer sequences keep their newest entries")
    newest: Literal["last", "first"] = Field("last", description="where the newest entry is")
    attributes: dict[Annotated[str, Field(min_length=1)], AttributeConfig] = Field(
        {}, description="other lists of the same lengths, by column name"
    )

    @property
    def parts(self) -> Mapping[str, FeatureConfig]:
        """The attributes."""
        return self.attributes

    def encoder_sizes(self, entry: int, query: int) -> tuple[int, int]:
        """Of its encoder."""
        return self.encoder.sizes(entry, query)


class PlainTransformConfig(NamedConfig):
    """One column: `log1p` is signed and then standardised, `quantile` maps to a normal score."""

    name: Literal["standardize", "log1p", "quantile", "none"] = "standardize"


class PiecewiseConfig(NamedConfig):
    """The piecewise-linear encoding (Gorishniy et al. 2022), a column a bin.

    Frequent values are edges, as are quantiles of the others.
    """

    name: Literal["piecewise"]
    bins: Annotated[int, Field(ge=2, le=256)] = Field(
        48, description="fewer where there are fewer distinct values"
    )


TransformConfig = Annotated[
    Annotated[PlainTransformConfig, Tag("standardize")]
    | Annotated[PlainTransformConfig, Tag("log1p")]
    | Annotated[PlainTransformConfig, Tag("quantile")]
    | Annotated[PlainTransformConfig, Tag("none")]
    | Annotated[PiecewiseConfig, Tag("piecewise")],
    Discriminator(name_of),
]


class NumberEmbeddingConfig(NamedUnion):
    """Layers of a number's own between its columns and the experts."""

    members: ClassVar[Members] = {}
    name: str
    dim: PositiveInt = Field(16, description="width")

    @property
    def inputs(self) -> int:
        """Of its linear layer, at least."""
        return 1


@NumberEmbeddingConfig.register
class LinearEmbeddingConfig(NumberEmbeddingConfig):
    """A linear layer of its own for each number (Gorishniy et al. 2022), bins or the number in."""

    name: Literal["linear"]
    activation: Literal["relu", "none"] = Field("relu", description="what follows the layer")


@NumberEmbeddingConfig.register
class PeriodicEmbeddingConfig(NumberEmbeddingConfig):
    """Sines and cosines of learned frequencies, a linear layer, ReLU (Gorishniy et al. 2022, PLR).

    Not with `transform: piecewise`.
    """

    name: Literal["periodic"]
    frequencies: PositiveInt = Field(48, description="how many for each number")
    sigma: PositiveFloat = Field(
        0.01, description="standard deviation of the initial frequencies; 0.01 to 1 are usual"
    )

    @property
    def inputs(self) -> int:
        """Of its linear layer, at least."""
        return 2 * self.frequencies


@FeatureConfig.register
class NumericConfig(FeatureConfig):
    """A number; null is imputed with the training median and flagged by an indicator."""

    kind: Literal["numeric"]
    transform: TransformConfig = Field(
        PiecewiseConfig(name="piecewise"),
        description="how it is encoded; a name, or a mapping with `name`",
    )
    null_values: list[Value] = Field(
        [], description="values that mean missing, as null does: -999, unknown"
    )
    embedding: NumberEmbeddingConfig | None = Field(
        None, description="layers of its own; a name, or a mapping with `name`"
    )

    @model_validator(mode="after")
    def _periodic_reads_a_number(self) -> Self:
        bins = isinstance(self.transform, PiecewiseConfig)
        if bins and isinstance(self.embedding, PeriodicEmbeddingConfig):
            raise ValueError("embedding periodic needs transform standardize, quantile or log1p")
        return self

    @property
    def layer(self) -> tuple[int, int]:
        """Of its embedding."""
        return (0, 1) if self.embedding is None else (self.embedding.inputs, self.embedding.dim)

    def raw(self) -> NumericConfig:
        """The numbers as they are."""
        as_is = PlainTransformConfig(name="none")
        return NumericConfig(
            kind="numeric", column=self.column, null_values=self.null_values, transform=as_is
        )
