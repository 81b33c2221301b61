"""From the section `combiner` to a combiner of gradients."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from recsys_mtl.config.combiner import CombinerConfig
from recsys_mtl.gradients import (
    COMBINERS,
    Activation,
    Combiner,
    Part,
    make_combiner,
    partition_of,
)

_NOT_OPTIONS = {"name", "block", "block_size", "diagnostics"}


@dataclass(frozen=True)
class NamedCombiner:
    """A combiner and the names of its blocks."""

    combiner: Combiner
    blocks: tuple[str, ...]


def build_combiner(
    section: CombinerConfig, parts: Sequence[Part | Activation], *, tasks: int, seed: int
) -> NamedCombiner:
    """The combiner of a section for gradients of those parts.

    Args:
        section: of the config.
        parts: the shared parameters or activations, in the order of the gradients.
        tasks: T.
        seed: of a method's random numbers.
    """
    partition, names = partition_of(parts, section.blocks, size=section.block_size)
    options = section.model_dump(exclude=_NOT_OPTIONS)
    if "seed" in inspect.signature(COMBINERS[section.name]).parameters:
        options["seed"] = seed
    return NamedCombiner(make_combiner(section.name, tasks, partition, **options), names)
