"""Blocks of columns that a combiner treats each on its own, and the two passes over gradients.

Shapes: T tasks (or those present), d_e columns of gradient tensor e, K blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recsys_mtl.gradients.averaging import sum_over_processes


@dataclass(frozen=True)
class Segment:
    """`count` neighbouring blocks of `width` columns each, within one tensor.

    Attributes:
        tensor: index of the gradient tensor.
        start: its first column.
        width: columns of each block.
        count: how many blocks.
        block: the number of the first of them.
    """

    tensor: int
    start: int
    width: int
    count: int
    block: int

    @property
    def blocks(self) -> slice:
        """Which blocks these are."""
        return slice(self.block, self.block + self.count)

    @property
    def columns(self) -> slice:
        """Which columns of the tensor these are."""
        return slice(self.start, self.start + self.width * self.count)

    def of(self, rows: Tensor) -> Tensor:
        """The (count, T, width) view of (T, d_e)."""
        return rows[:, self.columns].view(len(rows), self.count, self.width).transpose(0, 1)


@dataclass(frozen=True)
class RowSplit:
    """Columns of a tensor that are rows of a batch, of which this process has its own.

    Attributes:
        width: columns of a row.
        rows: of the batch, in all processes.
        rank: this process has the rows rank, rank + world, …
        world: processes.
    """

    width: int
    rows: int
    rank: int
    world: int

    def to_all(self, own: Tensor) -> Tensor:
        """(T, d) columns of the own rows to those of all rows, zero in the others'."""
        every = own.new_zeros(len(own), self.rows, self.width)
        mine = every[:, self.rank :: self.world]
        mine.copy_(own.view(len(own), -1, self.width)[:, : mine.shape[1]])
        return every.flatten(1)

    def to_own(self, every: Tensor, like: Tensor) -> Tensor:
        """(d',) columns of all rows to the (d,) of the own ones, padded as `like`."""
        mine = every.view(self.rows, self.width)[self.rank :: self.world].flatten()
        own = torch.zeros_like(like)
        own[: len(mine)] = mine
        return own


@dataclass(frozen=True)
class Partition:
    """Which block every column of a list of gradient tensors belongs to; fixed for a training.

    Made by `grouped`, `single`, `each` or `fixed`.

    Attributes:
        widths: d_e of each tensor.
        blocks: K.
        segments: every column once, in order.
        splits: by tensor, where its columns are this process' rows alone; all other tensors are
            the same in every process.
    """

    widths: tuple[int, ...]
    blocks: int
    segments: tuple[Segment, ...]
    splits: Mapping[int, RowSplit] = field(default_factory=dict)

    @classmethod
    def grouped(cls, widths: Sequence[int], groups: Sequence[int]) -> Partition:
        """Tensor e belongs to block `groups[e]`, for example the parameters of an expert.

        Raises:
            ValueError: another number of groups than of widths, or numbers that are not 0 … K - 1.
        """
        if len(groups) != len(widths) or set(groups) != set(range(len(set(groups)))):
            raise ValueError(
                f"groups: expected a block number from 0 without gaps for each of {len(widths)} "
                f"tensors, found {list(groups)}"
            )
        segments = (
            Segment(e, 0, w, 1, k) for e, (w, k) in enumerate(zip(widths, groups, strict=True))
        )
        return cls(tuple(widths), len(set(groups)), tuple(segments))

    @classmethod
    def single(cls, widths: Sequence[int]) -> Partition:
        """All columns are one block."""
        return cls.grouped(widths, [0] * len(widths))

    @classmethod
    def each(cls, widths: Sequence[int]) -> Partition:
        """Every tensor is a block: an expert or a parameter, as the caller lists them."""
        return cls.grouped(widths, range(len(widths)))

    @classmethod
    def fixed(cls, widths: Sequence[int], size: int) -> Partition:
        """Blocks of `size` columns of the tensors in a row; they may cross tensors' ends.

        The last block may be narrower, which is the same as padding it with zeros.

        Raises:
            ValueError: a size below 1.
        """
        if size < 1:
            raise ValueError(f"size: expected 1 or more columns, found {size}")
        segments: list[Segment] = []
        before = 0
        for e, width in enumerate(widths):
            segments += _cut(e, width, before, size)
            before += width
        return cls(tuple(widths), -(-before // size), tuple(segments))

    def grams(self, rows: Sequence[Tensor]) -> Tensor:
        """The Gram matrix of every block, of all processes' rows; one pass over the gradients.

        Returns:
            (K, T, T), float64 for float64 gradients and float32 for all others.
        """
        tasks, like = len(rows[0]), rows[0]
        work = torch.float64 if like.dtype == torch.float64 else torch.float32
        grams = torch.zeros(self.blocks, tasks, tasks, dtype=work, device=like.device)
        of_rows = torch.zeros_like(grams) if self.splits else grams
        for segment in self.segments:
            part = segment.of(rows[segment.tensor]).to(work)
            to = of_rows if segment.tensor in self.splits else grams
            if part.device.type == "cpu":
                to[segment.blocks] += part @ part.mT
            else:  # in one launch
                to[segment.blocks].baddbmm_(part, part.mT)
        return grams + sum_over_processes(of_rows) if self.splits else grams

    def mix(self, rows: Sequence[Tensor], weights: Tensor) -> list[Tensor]:
        """The weighted sum of the tasks' gradients; one pass over them.

        Args:
            rows: (T, d_e) gradients.
            weights: (K, T), a weight of each task in each block.

        Returns:
            (d_e,) tensors.
        """
        mixed = [torch.empty_like(part[0]) for part in rows]
        weights = weights.to(rows[0]) if rows else weights
        for segment in self.segments:
            part = segment.of(rows[segment.tensor])
            here = weights[segment.blocks].unsqueeze(1)
            to = mixed[segment.tensor][segment.columns].view(segment.count, 1, segment.width)
            torch.bmm(here, part, out=to)
        return mixed


def _cut(tensor: int, width: int, before: int, size: int) -> Iterator[Segment]:
    """The segments of a tensor after `before` columns: a rest, full blocks, a start."""
    rest = min(-before % size, width)
    full = (width - rest) // size
    tail = width - rest - full * size
    if rest:
        yield Segment(tensor, 0, rest, 1, before // size)
    if full:
        yield Segment(tensor, rest, size, full, (before + rest) // size)
    if tail:
        yield Segment(tensor, width - tail, tail, 1, (before + width - tail) // size)
