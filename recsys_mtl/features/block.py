"""Blocks: the encoded values of all features of one layout.

A batch has few tensors, however many features there are, so selecting rows, joining batches and
moving them to a device take few operations. Every feature has its values by name.

Shapes: B rows, W columns of all features of a block, M lists a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

Bag: TypeAlias = tuple[Tensor, Tensor | None]
"""(total,) int64 table rows that one feature reads, the rows of a batch one after another, and (B,)
how many each of them has; None: one each."""


class FeatureBlock(ABC):
    """Encoded values of the features of one layout.

    Attributes:
        layout: name of the block in a batch.
    """

    layout: ClassVar[str]

    @classmethod
    @abstractmethod
    def of(cls, parts: Mapping[str, Any], rows: int) -> Self:
        """The block of B `rows` from the encoded values of its features, by name."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Its features in order."""

    @abstractmethod
    def __getitem__(self, name: str) -> Any:
        """A feature's values."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name; one with a dot in it holds entries of lists, the others rows."""

    @abstractmethod
    def with_tensors(self, tensors: Iterable[Tensor]) -> Self:
        """The same features with other values, in the order of `tensors`."""

    @abstractmethod
    def select(self, rows: Tensor) -> Self:
        """The given rows, (B',) int64, in the given order. On the CPU."""

    def gather(self, rows: Tensor, totals: Sequence[int]) -> Self:
        """The same as `select`, on the block's device, which it does not wait for.

        Args:
            rows: (B',) int64, there.
            totals: (M,) entries of each list in these rows together.
        """
        return self.with_tensors(t.index_select(0, rows) for t in self.tensors().values())

    @abstractmethod
    def mixed(self, names: Collection[str], other: Self) -> Self:
        """The same rows, with those features of the rows of another block."""

    @abstractmethod
    def head(self, count: int) -> Self:
        """The first rows, on any device."""

    def concat(self, others: Sequence[Self]) -> Self:
        """Its rows, then those of the others, which have the same features."""
        mine = [self, *others]
        return self.with_tensors(
            torch.cat(parts) for parts in zip(*(b.tensors().values() for b in mine), strict=True)
        )


class TableBlock(FeatureBlock):
    """A block that holds rows of embedding tables."""

    @abstractmethod
    def bags(self, names: Sequence[str]) -> list[Bag]:
        """The table rows of each feature."""

    @abstractmethod
    def replaced(self, by: Callable[[str, Tensor], Tensor]) -> Self:
        """The same features, each with what `by` makes of its name and table rows."""


@dataclass(frozen=True)
class Columns(FeatureBlock):
    """Features of fixed width as adjacent columns of one matrix.

    Attributes:
        values: (B, W).
        widths: columns of each feature, in their order.
    """

    dtype: ClassVar[DTypeLike]
    values: Tensor
    widths: Mapping[str, int]

    @classmethod
    def of(cls, parts: Mapping[str, NDArray[Any]], rows: int) -> Self:
        """Of (B,) or (B, width) arrays."""
        arrays = {name: p if p.ndim == 2 else p[:, None] for name, p in parts.items()}
        joined = np.concatenate([np.empty((rows, 0), cls.dtype), *arrays.values()], axis=1)
        return cls(torch.from_numpy(joined), {name: a.shape[1] for name, a in arrays.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """Its features in order."""
        return tuple(self.widths)

    def __getitem__(self, name: str) -> Tensor:
        """(B, width) values of a feature."""
        return self.columns((name,))

    def columns(self, names: Sequence[str]) -> Tensor:
        """(B, their width) values of features that are adjacent in this order."""
        if len(names) == len(self.widths):
            return self.values
        if not names:
            return self.values[:, :0]
        order = list(self.widths)
        start = order.index(names[0])
        assert order[start : start + len(names)] == list(names)
        before, width = (sum(self.widths[n] for n in some) for some in (order[:start], names))
        return self.values.narrow(1, before, width)

    def tensors(self) -> dict[str, Tensor]:
        """The matrix."""
        return {self.layout: self.values}

    def with_tensors(self, tensors: Iterable[Tensor]) -> Self:
        """The same features with other values."""
        (values,) = tensors
        return type(self)(values, self.widths)

    def select(self, rows: Tensor) -> Self:
        """The given rows in the given order."""
        return type(self)(take(self.values, rows), self.widths)

    def mixed(self, names: Collection[str], other: Self) -> Self:
        """The same rows, with those features of the rows of another block."""
        values, start = self.values.clone(), 0
        for name, width in self.widths.items():
            if name in names:
                values[:, start : start + width] = other.values[:, start : start + width]
            start += width
        return type(self)(values, self.widths)

    def head(self, count: int) -> Self:
        """The first rows."""
        return type(self)(self.values[:count], self.widths)


@dataclass(frozen=True)
class Numbers(Columns):
    """Finite float32 numbers, one column or more a feature."""

    layout: ClassVar[str] = "numeric"
    dtype: ClassVar[DTypeLike] = np.float32


@dataclass(frozen=True)
class Ids(Columns, TableBlock):
    """One int64 row of an embedding table a feature; 0 is the unknown row."""

    layout: ClassVar[str] = "ids"
    dtype: ClassVar[DTypeLike] = np.int64

    def __getitem__(self, name: str) -> Tensor:
        """(B,) table rows of a feature."""
        return super().__getitem__(name).squeeze(1)

    def bags(self, names: Sequence[str]) -> list[Bag]:
        """The table rows of each feature, one for each row."""
        return [(column, None) for column in self.columns(names).unbind(1)] if names else []

    def replaced(self, by: Callable[[str, Tensor], Tensor]) -> Self:
        """The same features with other table rows."""
        columns = [by(name, self[name]) for name in self.names]
        return self.with_tensors([torch.stack(columns, 1) if columns else self.values])


@dataclass(frozen=True)
class ItemIds(Columns):
    """One int64 item a task that retrieves items, 0 where a row has none: labels, not features."""

    layout: ClassVar[str] = "items"
    dtype: ClassVar[DTypeLike] = np.int64

    def __getitem__(self, name: str) -> Tensor:
        """(B,) items of a task."""
        return super().__getitem__(name).squeeze(1)


@dataclass(frozen=True)
class Ragged(FeatureBlock):
    """Lists of each row, without padding.

    Attributes:
        values: of each feature (total length,), the lists of all rows one after another.
        lengths: (B, M), the length of each list.
        entries: prefix of the values' names among the tensors.
    """

    entries: ClassVar[str]
    values: Mapping[str, Tensor]
    lengths: Tensor

    @classmethod
    def of(cls, parts: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], rows: int) -> Self:
        """Of ((total,) values, (B,) lengths) pairs."""
        values = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, (v, _) in parts.items()}
        lengths = [lengths.reshape(rows, 1) for _, lengths in parts.values()]
        joined = np.concatenate([np.empty((rows, 0), np.int64), *lengths], axis=1)
        return cls(values, torch.from_numpy(joined))

    @property
    def names(self) -> tuple[str, ...]:
        """Its features in order."""
        return tuple(self.values)

    def __getitem__(self, name: str) -> tuple[Tensor, Tensor]:
        """(total,) values and (B,) lengths of a feature."""
        return self.values[name], self.lengths[:, self.names.index(name)]

    def tensors(self) -> dict[str, Tensor]:
        """The lengths, then each feature's values."""
        entries = {f"{self.entries}.{name}": values for name, values in self.values.items()}
        return {f"{self.layout}_lengths": self.lengths} | entries

    def with_tensors(self, tensors: Iterable[Tensor]) -> Self:
        """The same features with other values."""
        lengths, *values = tensors
        return type(self)(dict(zip(self.values, values, strict=True)), lengths)

    def select(self, rows: Tensor) -> Self:
        """The given rows in the given order."""
        starts, lengths = take(self._starts, rows), take(self.lengths, rows)
        values = {
            name: _entries(values, starts[:, m], lengths[:, m])
            for m, (name, values) in enumerate(self.values.items())
        }
        return type(self)(values, lengths)

    def gather(self, rows: Tensor, totals: Sequence[int]) -> Self:
        """The same as `select`, on the block's device, which it does not wait for."""
        starts, lengths = (t.index_select(0, rows) for t in (self._starts, self.lengths))
        offsets = starts - (torch.cumsum(lengths, 0) - lengths)  # from a new entry to the old one
        values = {}
        for m, ((name, entries), total) in enumerate(zip(self.values.items(), totals, strict=True)):
            own = torch.repeat_interleave(offsets[:, m], lengths[:, m], output_size=total)
            new = torch.arange(total, device=rows.device)
            values[name] = entries.index_select(0, own + new)
        return type(self)(values, lengths)

    def mixed(self, names: Collection[str], other: Self) -> Self:
        """The same rows, with those features of the rows of another block."""
        values = {name: (other if name in names else self).values[name] for name in self.values}
        taken = torch.tensor([name in names for name in self.values], dtype=torch.bool)
        return type(self)(values, torch.where(taken, other.lengths, self.lengths))

    def head(self, count: int) -> Self:
        """The first rows; waits for a GPU."""
        lengths = self.lengths[:count]
        totals = lengths.sum(0).tolist()
        values = {
            name: values[:total]
            for (name, values), total in zip(self.values.items(), totals, strict=True)
        }
        return type(self)(values, lengths)

    @cached_property
    def _starts(self) -> Tensor:
        """(B, M) index of each list's first value."""
        return torch.cumsum(self.lengths, 0) - self.lengths


@dataclass(frozen=True)
class Lists(Ragged, TableBlock):
    """Lists of int64 rows of embedding tables."""

    layout: ClassVar[str] = "list"
    entries: ClassVar[str] = "list_ids"

    def bags(self, names: Sequence[str]) -> list[Bag]:
        """The table rows of each feature."""
        return [self[name] for name in names]

    def replaced(self, by: Callable[[str, Tensor], Tensor]) -> Self:
        """The same features with other table rows."""
        values = {name: by(name, values) for name, values in self.values.items()}
        return type(self)(values, self.lengths)


@dataclass(frozen=True)
class SequenceIds(Lists):
    """Table rows of the entries of sequences and of their attributes, the oldest first."""

    layout: ClassVar[str] = "sequence"
    entries: ClassVar[str] = "sequence_ids"


@dataclass(frozen=True)
class SequenceNumbers(Ragged):
    """Finite float32 numbers of the entries of sequences."""

    layout: ClassVar[str] = "sequence_number"
    entries: ClassVar[str] = "sequence_numbers"


STANDARD = (Numbers, Ids, Lists)
"""The blocks that every batch has, with or without features."""


def take(values: Tensor, rows: Tensor) -> Tensor:
    """The given rows of a CPU tensor.

    By NumPy: torch's parallel gather waits milliseconds for its threads while others are busy.
    """
    return torch.from_numpy(values.numpy().take(rows.numpy(), axis=0))


def _entries(values: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
    """The lists that start at `starts` with the given lengths, one after another."""
    offsets = (starts - (torch.cumsum(lengths, 0) - lengths)).numpy().repeat(lengths.numpy())
    return take(values, torch.from_numpy(offsets + np.arange(len(offsets))))
