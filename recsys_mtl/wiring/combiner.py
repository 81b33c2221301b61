"""From the section `combiner` to a combiner of gradients."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recsys_mtl.config.combiner import CombinerConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.gradients import (
    COMBINERS,
    Activation,
    Combiner,
    Part,
    make_combiner,
    partition_of,
)
from recsys_mtl.losses import TaskLosses
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.training.combining import Combining, shared_parts
from recsys_mtl.training.weighted_combining import AtFeatures, OfRows

log = logging.getLogger(__name__)

_NOT_OPTIONS = {"name", "block", "block_size", "diagnostics", "rows", "level"}


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


def build_combining(
    config: Config, network: MultiTaskNetwork, losses: TaskLosses
) -> Combining | None:
    """The combination of the tasks' gradients; None: one backward pass of their sum."""
    section, training = config.combiner, config.training
    if section.name == "sum" and section.diagnostics is None:
        return None
    measured = training.batch_size if section.rows is None else section.rows
    parts = shared_parts(network, measured)
    named = build_combiner(section, parts, tasks=len(network.tasks), seed=config.seed)
    options: dict[str, Any] = {
        "interval": section.diagnostics or 1,
        "always": section.name != "sum",
    }
    arguments = (network, named.combiner, named.blocks, parts)
    if section.level == "features":
        log.info(
            "combiner: level features compares gradients at the shared experts' outputs; their "
            "cosines are not those of the parameters' gradients"
        )
        return AtFeatures(*arguments, **options)
    if section.rows is not None:
        options |= {"rows": section.rows, "losses": losses}
        return OfRows(*arguments, precision=training.precision, seed=config.seed, **options)
    if not network.tasks_are_separable:
        log.warning(
            "combiner %s: with several levels, logit_transfer, tasks behind others or architecture "
            "%s a combined step makes %d backward passes through all of the network, one a task; "
            "combiner.rows: %d makes them of fewer rows",
            section.name,
            config.model.architecture.name,
            len(network.tasks),
            max(1, training.batch_size // 8),
        )
    return Combining(*arguments, **options)
