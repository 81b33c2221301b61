"""Contradictions of tasks whose items are the values of features."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tables import sections_of, table_of
from recsys_mtl.config.tasks import RetrievalConfig
from recsys_mtl.errors import did_you_mean

_OF_TABLE = {"dim": "dim", "max_items": "max_size", "null_values": "null_values"}
"""Keys that a table settles -> the feature's key for it."""


def retrieval_contradictions(config: Config) -> Iterator[Finding]:
    """A table that no feature reads or that knows no values, and settings that are the table's."""
    tables = {
        table_of(name, feature): feature
        for name, feature in sections_of(config.features).items()
        if isinstance(feature, CategoryConfigBase)
    }
    for name, task in config.tasks.items():
        if not isinstance(task, RetrievalConfig) or task.table is None:
            continue
        path = ("tasks", name, "table")
        table = tables.get(task.table)
        if table is None:
            fix = did_you_mean(task.table, tables)
            yield Finding(path, "no feature reads this table", found=show(task.table), fix=fix)
        elif table.encoding != "vocabulary":
            what = f"table '{task.table}' keeps no values that could be retrieved"
            yield Finding(path, what, "encoding: vocabulary", f"encoding: {table.encoding}")
        for key, of_feature in _OF_TABLE.items():
            if getattr(task, key) != type(task).model_fields[key].get_default():
                what = f"{key} is that of table '{task.table}'"
                fix = f"give {of_feature} at a feature of the table"
                yield Finding(("tasks", name, key), what, fix=fix)
