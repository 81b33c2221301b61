"""Contradictions of the sections `combiner` and `balancing` with the tasks and the network."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.balancing import GradNormConfig
from recsys_mtl.config.explain import Finding
from recsys_mtl.config.schema import Config


def combiner_contradictions(config: Config) -> Iterator[Finding]:
    """Nothing to combine, or nothing that is shared."""
    combiner, balancing = config.combiner, config.balancing
    name, facts = config.model.architecture.name, config.facts
    tables = any(f.has_table for f in config.features.values())
    if combiner.name != "sum":
        path = ("combiner", "name")
        if len(config.tasks) < 2:
            yield Finding(path, "combining needs two tasks or more", fix="use name: sum")
        if not facts.common and not tables:
            what = f"{name} without categorical features shares nothing to combine on"
            yield Finding(path, what, fix="use architecture ple, or name: sum")
    if isinstance(balancing, GradNormConfig):
        path = ("balancing", "name")
        if len(config.tasks) < 2:
            yield Finding(path, "gradnorm needs two tasks or more", fix="use name: fixed")
        if not facts.shared:
            what = f"{name} has no shared experts to measure gradients on"
            yield Finding(path, what, fix="use architecture ple, or name: fixed")
