"""Contradictions of tasks whose items are the values of features."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tables import sections_of, table_of
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
        key = task.table_of_items
        if key is None:
            continue
        path = ("tasks", name, "table")
        table = tables.get(key)
        if table is None:
            fix = did_you_mean(key, tables)
            yield Finding(path, "no feature reads this table", found=show(key), fix=fix)
        elif table.encoding != "vocabulary":
            what = f"table '{key}' keeps no values that could be retrieved"
            yield Finding(path, what, "encoding: vocabulary", f"encoding: {table.encoding}")
        elif table.storage == "file":
            what = f"table '{key}' is in a file, and items to retrieve are in memory"
            yield Finding(path, what, "storage: memory", "storage: file")
        for setting, of_feature in _OF_TABLE.items():
            default = type(task).model_fields[setting].get_default(call_default_factory=True)
            if getattr(task, setting) != default:
                what = f"{setting} is that of table '{key}'"
                fix = f"give {of_feature} at a feature of the table"
                yield Finding(("tasks", name, setting), what, fix=fix)
