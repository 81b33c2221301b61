"""Contradictions of tables that are spread over processes with the rest of a config."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.explain import Finding
from recsys_mtl.config.schema import Config


def sharding_contradictions(config: Config) -> Iterator[Finding]:
    """What needs complete tables in every process, where the config spreads them."""
    sharding, at = config.training.tables.sharding, ("training", "tables", "sharding")
    if sharding not in ("table", "row"):
        return
    if config.model.embedding.backend == "plain":
        what = "only TorchRec's tables can be spread over processes"
        yield Finding(at, what, "backend: auto or torchrec", "model.embedding.backend: plain")
    for name, task in config.tasks.items():
        if task.table_of_items is not None:
            what = f"task '{name}' compares with all rows of table '{task.table_of_items}'"
            fix = f"leave out tasks.{name}.table, or the sharding"
            yield Finding(at, what, "sharding: replicated", f"sharding: {sharding}", fix)
