"""The methods that combine task gradients, by name."""

from __future__ import annotations

from collections.abc import Callable

from recsys_mtl.gradients.cagt import CAGT
from recsys_mtl.gradients.combiner import Combiner, Sum
from recsys_mtl.gradients.conflict_free import ConFIG
from recsys_mtl.gradients.from_torchjd import TORCHJD
from recsys_mtl.gradients.partition import Partition

COMBINERS: dict[str, Callable[..., Combiner]] = {
    "sum": Sum,
    "cagt": CAGT,
    "config": ConFIG,
    **TORCHJD,
}


def make_combiner(name: str, tasks: int, partition: Partition, **options: object) -> Combiner:
    """The combiner of a name.

    Args:
        name: a key of `COMBINERS`.
        tasks: T.
        partition: the blocks.
        options: those of the method.

    Raises:
        ValueError: an unknown name, or an option outside its range.
        TypeError: an option that the method does not have.

    Example:
        Two tasks whose gradients of one shared parameter of two entries conflict:

        >>> import torch
        >>> from recsys_mtl.gradients import Partition, make_combiner
        >>> gradients = [torch.tensor([[1.0, 0.0], [-1.0, 1.0]])]
        >>> combiner = make_combiner("cagt", 2, Partition.each([2]))
        >>> combiner.combine(gradients, torch.tensor([True, True]), step=0).gradients
        [tensor([0.2121, 0.9121])]
    """
    if name not in COMBINERS:
        raise ValueError(f"combiner: expected one of {', '.join(COMBINERS)}; found {name}")
    return COMBINERS[name](tasks, partition, **options)
