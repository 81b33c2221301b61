"""Contradictions of a warm start and of frozen parts with the rest of a config."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.explain import Finding
from recsys_mtl.config.schema import Config
from recsys_mtl.config.training import WarmStartConfig


def warm_start_contradictions(config: Config) -> Iterator[Finding]:
    """What means nothing without a model to start from, and what frozen parts do not go with."""
    training = config.training
    warm, at = training.warm_start, ("training", "warm_start")
    if warm.model is None:
        default = WarmStartConfig()
        for key in ("take", "vocabulary", "optimizer"):
            if getattr(warm, key) != getattr(default, key):
                yield Finding((*at, key), f"{key} has no effect without warm_start.model")
        if training.freeze:
            what = "frozen parts would keep random weights"
            yield Finding(("training", "freeze"), what, "a warm_start.model", fix="train them")
        return
    if warm.take == "tables" and warm.optimizer == "kept":
        what = "the state of the dense optimizer belongs to the other weights"
        yield Finding((*at, "optimizer"), what, "fresh", "kept, with take: tables")
    if "experts" not in training.freeze:
        return
    path = ("training", "freeze")
    if warm.take == "tables":
        yield Finding(path, "frozen experts would keep random weights", "take: all", "take: tables")
    others = {
        "combiner": config.combiner.name != "sum" or config.combiner.diagnostics is not None,
        "adatt": config.adatt.mechanism != "off",
        "balancing": config.balancing.name == "gradnorm",
    }
    for name in (name for name, differentiates in others.items() if differentiates):
        what = f"{name} reads the tasks' gradients of the experts, which frozen ones do not have"
        yield Finding(path, what, fix=f"leave out experts, or {name}")
