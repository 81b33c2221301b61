"""Ready-made search spaces: each around what the base says, and with its own values inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsys_mtl.config import Config
from recsys_mtl.config.experts import MlpExpertConfig
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.config.tables import sections_of
from recsys_mtl.tuning.space import Choices, FloatRange, IntRange, fits

Parameters = dict[str, FloatRange | IntRange | Choices]
_NARROWEST = 4


def _rates(base: Config) -> Parameters:
    rates = {"training.optimizer.learning_rate": base.training.optimizer.learning_rate}
    if _has_tables(base):
        rates["training.tables.learning_rate"] = base.training.tables.learning_rate
    return {
        key: FloatRange(kind="float", low=rate / 10, high=rate * 10, log=True)
        for key, rate in rates.items()
    }


def _regularization(base: Config) -> Parameters:
    model, decay = base.model, base.training.optimizer.weight_decay
    space: Parameters = {"model.dropout": _from_zero(model.dropout)}
    if model.tower.hidden:
        space["model.tower_dropout"] = _from_zero(model.tower_dropout)
    space |= _choices("training.optimizer.weight_decay", [0.0, 1e-3, 1e-2, 3e-2, 0.1], decay)
    if _has_tables(base):
        own = model.embedding.unknown_dropout
        space |= _choices("model.embedding.unknown_dropout", [0.0, 0.25, 1.0], own)
    return space


def _batch(base: Config) -> Parameters:
    own = base.training.batch_size
    sizes = [size for size in (own // 4, own // 2, own * 2, own * 4) if size >= 16]
    return _choices("training.batch_size", sizes, own)


def _size(base: Config) -> Parameters:
    model, space = base.model, Parameters()
    entries = {"shared_experts": model.shared_experts}
    if base.facts.own:
        entries["task_experts"] = model.task_experts
    for name, experts in entries.items():
        for index, expert in enumerate(experts):
            if isinstance(expert, MlpExpertConfig):
                key = f"model.{name}.{index}"
                widths = [_scaled(expert.hidden, by) for by in (0.25, 0.5, 2)]
                space |= _choices(f"{key}.hidden", widths, expert.hidden)
                if name == "shared_experts":
                    space |= _choices(f"{key}.count", [1, 2, 4], expert.count)
    space |= _choices("model.tower.hidden", [[], [32], [64, 32]], model.tower.hidden)
    if _has_tables(base):
        space |= _choices("model.embedding.dim", [4, 8, 16, 32], model.embedding.dim)
    return space


def _members(base: Config) -> Parameters:
    return _choices("model.members", [1, 4, 8, 16], base.model.members)


READY: Mapping[str, Callable[[Config], Parameters]] = {
    "rates": _rates,
    "regularization": _regularization,
    "batch": _batch,
    "size": _size,
    "members": _members,
}
"""By the names that a tuning's `ready` may have."""
USUAL = ("rates", "regularization")
"""Where a tuning names no space."""


def ready_space(names: Sequence[str], base: Config) -> Parameters:
    """The parameters of ready-made spaces; choices that the config refuses are left out."""
    space = Parameters()
    for name in names:
        for key, one in READY[name](base).items():
            if isinstance(one, Choices):
                kept = [value for value in one.choices if fits(base, key, value)]
                if len(kept) < 2:
                    continue
                one = Choices(kind="choice", choices=kept)
            space[key] = one
    return space


def _choices(key: str, values: Sequence[Any], own: Any) -> Parameters:
    """The base's value and those that differ from it."""
    others = [value for value in values if value != own]
    return {key: Choices(kind="choice", choices=[own, *others])}


def _from_zero(own: float) -> FloatRange:
    return FloatRange(kind="float", low=0.0, high=max(0.5, own))


def _scaled(widths: Sequence[int], by: float) -> list[int]:
    return [max(_NARROWEST, round(width * by)) for width in widths]


def _has_tables(base: Config) -> bool:
    """Whether anything is looked up in embedding tables."""
    sections = sections_of(base.features).values()
    return any(isinstance(section, CategoryConfigBase) for section in sections)
