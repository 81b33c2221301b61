"""What the sizes of a config come to in memory, at least, before anything is allocated.

Counted are the weights, gradients and moments of the network in float32. What depends on the data
(vocabularies, widths of numbers) counts as little as it can be.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

from recsys_mtl.config.experts import CrossExpertConfig, ExpertConfig, FmExpertConfig
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tables import part_of, sections_of, table_of, with_parts
from recsys_mtl.config.yaml_text import KeyPath, dotted
from recsys_mtl.errors import wrong
from recsys_mtl.memory import REPLICATED_BYTES, in_bytes, total_memory

_AUTO_STEP, _AUTO_MOST = 4, 32
_TABLE_BYTES = 4  # a weight; the optimizer's rows come on top
_DENSE_BYTES = 16  # a weight, its gradient and two moments
_MODULE_BYTES = 10_000  # a layer's object, whatever its width


@dataclass(frozen=True)
class Need:
    """Memory that a key of the config asks for.

    Attributes:
        path: of the key.
        size: the numbers that multiply, for people.
        weights: at least.
        bytes: at least, in training.
        table: whether it is one of embeddings.
    """

    path: KeyPath
    size: str
    weights: int
    bytes: int
    table: bool = False


def auto_dim(values: int) -> int:
    """Embedding width by cardinality: fastai's rule, 1.6 · n^0.56 (Howard & Gugger 2020).

    In steps of 4, which fused tables need, and at most 32: 64 was no better on real impressions.

    Args:
        values: n, how many have a row of the table.
    """
    return min(_AUTO_MOST, _AUTO_STEP * math.ceil(1.6 * values**0.56 / _AUTO_STEP) or _AUTO_STEP)


def require_memory(
    config: Config,
    fitted: Mapping[str, tuple[int, int]] | None = None,
    *,
    processes: int = 1,
    local: int = 1,
) -> None:
    """The network fits the memory of this machine, of which a process has its share.

    Args:
        config: the run.
        fitted: rows and width of each table, as far as they are known.
        processes: that train.
        local: those of them on this machine.

    Raises:
        UserError: it does not; the line names the first part that does not fit, or the largest.
    """
    available = total_memory()
    needs = list(memory_needs(config, fitted))
    if processes > 1:
        needs = [*_of_one(config, needs, processes)]
        available = None if available is None else available // local
    total = sum(need.bytes for need in needs)
    if available is None or total <= available:
        return
    alone = (need for need in needs if need.bytes > available)
    largest = next(alone, max(needs, key=lambda need: need.bytes))
    raise wrong(
        f"{largest.size} need {in_bytes(largest.bytes)} of memory",
        where=dotted(largest.path),
        expected=f"a network that fits the {in_bytes(available)} of this machine"
        + (f" that each of {local} processes has" if local > 1 else ""),
        found=f"{in_bytes(total)} at least in all",
        fix="choose a smaller size",
    )


def _of_one(config: Config, needs: Sequence[Need], processes: int) -> Iterator[Need]:
    """What one process needs, where several have a part of each table."""
    sharding = config.training.tables.sharding
    if sharding == "auto":
        size = sum(need.bytes for need in needs if need.table)
        sharding = "replicated" if size <= REPLICATED_BYTES else "row"
    spread = sharding != "replicated" and config.model.embedding.backend != "plain"
    for need in needs:
        yield replace(need, bytes=need.bytes // processes) if spread and need.table else need


def memory_needs(
    config: Config, fitted: Mapping[str, tuple[int, int]] | None = None
) -> Iterator[Need]:
    """What every table, every group of experts and the towers need."""
    model, tasks, levels = config.model, len(config.tasks), config.model.levels
    width = yield from _feature_needs(config, fitted or {})
    for key, experts, copies in (
        ("shared_experts", model.shared_experts, 1),
        ("task_experts", model.task_experts, tasks),
    ):
        for index, expert in enumerate(experts):
            count, weights = levels * copies * expert.count, _weights(expert, width)
            memory = count * weights * _DENSE_BYTES + levels * _MODULE_BYTES * _layers(expert)
            deep = levels > expert.count * weights
            part: KeyPath = ("model", "levels") if deep else ("model", key, index)
            size = f"{_counted(count)} experts of {_counted(weights)} weights"
            yield Need(part, size, count * weights, memory)
    hidden = [1, *model.tower.hidden]
    weights = tasks * sum(a * b for a, b in pairwise(hidden))
    size = f"{tasks:,} towers of {_counted(weights // tasks)} weights"
    yield Need(("model", "tower", "hidden"), size, weights, weights * _DENSE_BYTES)
    for name, task in config.tasks.items():
        if task.has_items:
            width_of_item: int = getattr(task, "dim", 1)
            size = f"queries and items of width {_counted(width_of_item)}"
            weights = (hidden[-1] + 2) * width_of_item
            yield Need(("tasks", name, "dim"), size, weights, weights * _DENSE_BYTES)


def _feature_needs(
    config: Config, fitted: Mapping[str, tuple[int, int]]
) -> Generator[Need, None, int]:
    """Of tables, embeddings of numbers and encoders; returns the width of the experts' inputs."""
    sections, dims, width = sections_of(config.features), dict[str, int](), 0
    paths = {name: path for name, path, _ in with_parts(config.features)}
    copies = 1 + len(config.tasks) if config.facts.own_tables else 1
    counted = set[str]()
    for name, feature in sections.items():
        if not isinstance(feature, CategoryConfigBase):
            inputs, dims[name] = feature.layer
            if inputs:
                weights = (inputs + 1) * dims[name]
                size = f"an embedding of {_counted(weights)} weights"
                yield Need((*paths[name], "embedding"), size, weights, weights * _DENSE_BYTES)
            continue
        rows, chosen = (
            feature.buckets or feature.rows or 1,
            feature.dim or config.model.embedding.dim,
        )
        rows, dim = fitted.get(name, (rows, auto_dim(rows) if chosen == "auto" else chosen))
        dims[name] = dim
        if (table := table_of(name, feature)) in counted:
            continue
        counted.add(table)
        own = next((key for key in ("buckets", "rows", "dim") if getattr(feature, key)), "")
        path = (*paths[name], own) if own else ("model", "embedding", "dim")
        times = f"{copies} times " if copies > 1 else ""
        size = f"{times}{_counted(rows)} rows of width {_counted(dim)}"
        weights = copies * rows * dim
        yield Need(path, size, weights, weights * _TABLE_BYTES, table=True)
    for name, feature in config.features.items():
        own_parts = [name, *(part_of(name, part) for part in feature.parts)]
        targets = [getattr(sections[part], "target", None) for part in own_parts]
        entry = sum(dims[part] for part in own_parts)
        query = sum(dims.get(target, 0) for target in targets if target)
        weights, outputs = feature.encoder_sizes(entry, query)
        width += outputs
        if weights:
            size = f"an encoder of {_counted(weights)} weights"
            yield Need((*paths[name], "encoder"), size, weights, weights * _DENSE_BYTES)
    return width


def _counted(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"{Decimal(count):.1e}"


def _weights(expert: ExpertConfig, width: int) -> int:
    """Of one expert over inputs of that width."""
    if isinstance(expert, CrossExpertConfig):
        return expert.layers * width**2 + width * expert.width
    if isinstance(expert, FmExpertConfig):
        return expert.fields * expert.width * width
    return sum(a * b for a, b in pairwise([width, *expert.hidden]))


def _layers(expert: ExpertConfig) -> int:
    if isinstance(expert, CrossExpertConfig):
        return expert.layers
    return 1 if isinstance(expert, FmExpertConfig) else len(expert.hidden)
