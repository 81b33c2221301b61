"""`recsys-mtl validate`: config and data are checked as a training would, without training."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_mtl.config import Config, config_hash, load_config
from recsys_mtl.config.check_adatt import adatt_warnings
from recsys_mtl.data.prepare import prepare
from recsys_mtl.model.device import check_precision, pick_device
from recsys_mtl.reports.output import envelope, prepare_out, write_result
from recsys_mtl.serving.predictor import check_output_columns
from recsys_mtl.wiring.network import build_network


def run(config: Path, *, overrides: Sequence[str] = (), out: Path | None = None) -> dict[str, Any]:
    """Check a config file and its data, and print what would be trained on."""
    result = validate(load_config(config, overrides), out)
    rows = ", ".join(f"{name} {count:,}" for name, count in result["rows"].items())
    print(f"{config}: valid; rows: {rows}")
    print(f"network: {result['parameters']:,} parameters, {result['table_rows']:,} table rows")
    for warning in result["warnings"]:
        print(f"warning: {warning}")
    return result


def validate(config: Config, out: Path | None = None) -> dict[str, Any]:
    """Open, split, fit and encode the data, and build the network, without training it.

    Args:
        config: the run.
        out: folder for result.json; None writes none.

    Returns:
        Rows a split, the network's size and the warnings.

    Raises:
        UserError: everything that is wrong.
    """
    started = datetime.now(UTC)
    if out is not None:
        prepare_out(out)
    check_precision(config.training.precision, pick_device(config.training.device))
    prepared = prepare(config)
    check_output_columns(prepared.preprocessor)
    spec = prepared.preprocessor.spec
    network = build_network(config, spec)
    result = envelope("validate", started=started, config_hash=config_hash(config)) | {
        "rows": prepared.rows,
        "fingerprint": prepared.fingerprint,
        "warnings": [*prepared.warnings, *adatt_warnings(config)],
        "parameters": sum(p.numel() for p in network.dense_parameters()),
        "table_rows": sum(table.rows for table in (*spec.tables, *spec.list_tables)),
        "tasks": {task.name: task.kind for task in spec.tasks},
    }
    if out is not None:
        write_result(out, result)
    return result
