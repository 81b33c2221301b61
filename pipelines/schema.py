"""`recsys-mtl schema`: the config's JSON Schema, for editors and other tools."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.output import atomic_write, envelope, prepare_out, write_result
from recsys_mtl.config.schema import Config


def run(out: Path | None = None) -> dict[str, Any]:
    """Print the JSON Schema of a config.

    Args:
        out: folder that also gets it, as schema.json beside result.json.

    Returns:
        The schema.
    """
    started = datetime.now(UTC)
    schema = Config.model_json_schema()
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    if out is not None:
        path = atomic_write(prepare_out(out) / "schema.json", text + "\n")
        write_result(out, envelope("schema", started=started) | {"schema": path})
    print(text)
    return schema
