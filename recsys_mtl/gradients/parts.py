"""The shared parts by name, and the blocks in which their gradients are combined.

Shapes: T tasks, d_e entries of part e, K blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from recsys_mtl.gradients.partition import Partition, RowSplit, Segment
from recsys_mtl.gradients.task_gradients import Block

Blocks = Literal["all", "expert", "parameter", "fixed"]


@dataclass(frozen=True)
class Part:
    """A shared parameter, or a slice of one.

    Attributes:
        name: its own.
        group: the expert, or part of a network, that it belongs to.
        block: where it is.
    """

    name: str
    group: str
    block: Block

    @property
    def width(self) -> int:
        """d_e."""
        return sum(p.numel() if index is None else p[index].numel() for p, index in self.block)


@dataclass(frozen=True)
class Activation:
    """As `Part`, for a gradient at an activation instead of a parameter.

    Attributes:
        split: with several processes, which rows of it are this process'.
    """

    name: str
    width: int
    split: RowSplit | None = None

    @property
    def group(self) -> str:
        """Its name: each activation is a separate group."""
        return self.name


def partition_of(
    parts: Sequence[Part | Activation], blocks: Blocks, *, size: int = 8192
) -> tuple[Partition, tuple[str, ...]]:
    """The blocks in which parts are combined, and their names.

    Args:
        parts: in the order of the gradients.
        blocks: one of all; one for each group; one for each part; or blocks of `size` entries,
            across parts, and one for each activation.
        size: of `fixed`.

    Returns:
        The partition and K names.
    """
    partition, names = _partition_of(parts, blocks, size)
    splits = {e: p.split for e, p in enumerate(parts) if isinstance(p, Activation) and p.split}
    return replace(partition, splits=splits), names


def _partition_of(
    parts: Sequence[Part | Activation], blocks: Blocks, size: int
) -> tuple[Partition, tuple[str, ...]]:
    widths = [part.width for part in parts]
    if blocks == "all":
        return Partition.single(widths), ("all",)
    if blocks == "parameter":
        return Partition.each(widths), tuple(part.name for part in parts)
    if blocks == "expert":
        names = tuple(dict.fromkeys(part.group for part in parts))
        return Partition.grouped(widths, [names.index(part.group) for part in parts]), names
    partition = _fixed(widths, [isinstance(part, Part) for part in parts], size)
    return partition, tuple(_fixed_names(parts, partition))


def add_gradients(parts: Sequence[Part], combined: Sequence[Tensor]) -> None:
    """Add (d_e,) combined gradients to the parameters' `.grad`, as a backward pass would."""
    for part, gradient in zip(parts, combined, strict=True):
        start = 0
        for parameter, index in part.block:
            where = parameter if index is None else parameter[index]
            new = gradient[start : start + where.numel()].view_as(where)
            start += where.numel()
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            of_part = parameter.grad if index is None else parameter.grad[index]
            of_part += new


def _fixed(widths: Sequence[int], cut: Sequence[bool], size: int) -> Partition:
    """Blocks of `size` entries of the parts to cut, then one for each of the others."""
    inside = Partition.fixed([w for w, c in zip(widths, cut, strict=True) if c], size)
    kept = [tensor for tensor, c in enumerate(cut) if c]
    segments = [replace(segment, tensor=kept[segment.tensor]) for segment in inside.segments]
    others = [tensor for tensor, c in enumerate(cut) if not c]
    segments += [
        Segment(tensor, 0, widths[tensor], 1, inside.blocks + index)
        for index, tensor in enumerate(others)
    ]
    return Partition(tuple(widths), inside.blocks + len(others), tuple(segments))


def _fixed_names(parts: Sequence[Part | Activation], partition: Partition) -> list[str]:
    """Each block's name: that of its first part with a number, or its activation's name."""
    first: dict[int, Part | Activation] = {}
    for segment in partition.segments:
        for number in range(segment.count):
            first.setdefault(segment.block + number, parts[segment.tensor])
    seen: Counter[str] = Counter()
    names = []
    for block in range(partition.blocks):
        part = first[block]
        names.append(f"{part.name}.{seen[part.name]}" if isinstance(part, Part) else part.name)
        seen[part.name] += 1
    return names
