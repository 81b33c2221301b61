"""The model that `training.warm_start.model` names, loaded and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsys_mtl.config import Config, config_hash
from recsys_mtl.data.parent import Parent
from recsys_mtl.errors import prefixed
from recsys_mtl.reports.output import read_result
from recsys_mtl.runs.evaluate import model_folder
from recsys_mtl.serving.bundle import load_bundle, load_optimizer
from recsys_mtl.tracking.bundle_cache import bundle_hash
from recsys_mtl.tracking.uri import redact_uri

_REGISTERED = "models:/"


def load_parent(config: Config) -> Parent | None:
    """The model that a run starts from; None where it starts from random weights.

    Raises:
        UserError: no such model, or it is damaged.
    """
    source = config.training.warm_start.model
    if source is None:
        return None
    with prefixed("training.warm_start.model"):
        folder, facts = _found(source, config)
        predictor = load_bundle(folder)
        optimizer = load_optimizer(folder)
    facts |= {
        "bundle_sha256": bundle_hash(folder),
        "fingerprint": predictor.fingerprint,
        "config_hash": config_hash(predictor.config),
    }
    return Parent(
        predictor.config,
        predictor.preprocessor,
        predictor.network.state_dict(),
        optimizer,
        {"model": redact_uri(source), **facts},
    )


def _found(source: str, config: Config) -> tuple[Path, dict[str, Any]]:
    """The model's folder, and its version or run."""
    if not source.startswith(_REGISTERED):
        folder = model_folder(source)
        result = read_result(folder.parent / "result.json")
        return folder, {"run_id": (result.get("mlflow") or {}).get("run_id")}
    from recsys_mtl.tracking.registry import Registry  # imports mlflow, which is slow

    registry = Registry(config.tracking.uri)
    version = registry.resolve(source, where=source)
    facts = {"run_id": version.run_id, "name": version.name, "version": version.number}
    return registry.download(version), facts
