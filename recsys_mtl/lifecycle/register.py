"""A proven model becomes a version of a registered model.

Everything is checked before anything is written: a model that fails registers nothing.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_mtl.config import Config
from recsys_mtl.errors import wrong
from recsys_mtl.lifecycle.card import card, shortened
from recsys_mtl.reports.lists import as_lists
from recsys_mtl.reports.report import Report
from recsys_mtl.runs.trained import Trained, read_trained
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.mlflow_model import Verify, prove_model, verify_model
from recsys_mtl.serving.pandas_rows import to_polars
from recsys_mtl.tasks import kind_of
from recsys_mtl.tracking.bundle_cache import PIN, bundle_hash
from recsys_mtl.tracking.logged_model import LoggedModel, read_logged_model
from recsys_mtl.tracking.mlflow_limits import DESCRIPTION_LENGTH
from recsys_mtl.tracking.registry import Registry, Version
from recsys_mtl.tracking.stored_runs import StoredRun, StoredRuns
from recsys_mtl.tracking.version import require_name

log = logging.getLogger(__name__)
CARD = "model_card.md"


@dataclass(frozen=True)
class Proven:
    """A logged model that works.

    Attributes:
        config: of its bundle.
        pin: sha256 of its bundle's manifest.
        difference: largest, between a fresh process's predictions and this one's.
    """

    config: Config
    pin: str
    difference: float


def register(
    run: str,
    *,
    name: str,
    tracking_uri: str | None = None,
    allow_interrupted: bool = False,
    verify: Verify = verify_model,
) -> Report:
    """Check the logged model of a training and register it.

    Args:
        run: the training's folder, or its MLflow run id.
        name: of the registered model, created where it is new.
        tracking_uri: default: that of the training, else the one of `train`.
        allow_interrupted: whether a run that was killed or failed may be registered.
        verify: predicts with the logged model elsewhere; see `verify_model`.

    Returns:
        The model card, and what was registered.

    Raises:
        UserError: whatever is wrong; then nothing is registered.
    """
    require_name(name)
    trained = read_trained(run, tracking_uri)
    model_uri = _logged(trained, run)
    registry = Registry(tracking_uri or _known(trained))
    runs = StoredRuns(registry.uri)
    stored = runs.get(trained.result["mlflow"]["run_id"])
    _require_finished(stored, allow_interrupted)
    registry.require_new(name, model_uri)
    proven = _prove(registry, model_uri, trained, verify)
    page = card(trained, proven.config, name=name, model_uri=model_uri)
    text = as_lists(page)
    runs.write(stored.id, CARD, text)
    version = registry.create(
        name,
        model_uri=model_uri,
        run_id=stored.id,
        tags=_tags(trained, stored, proven.pin),
        description=shortened(
            text, DESCRIPTION_LENGTH, f"The whole card is {CARD} of run {stored.id}."
        ),
    )
    numbers = {"config_hash": trained.result["config_hash"]}
    return Report(page, numbers | _result(version, registry, proven))


def _logged(trained: Trained, run: str) -> str:
    """URI of the logged model."""
    tracked = trained.result.get("mlflow") or {}
    if tracked.get("run_id") is None:
        fix = "train it with tracking.enabled: true"
        raise wrong("this training was not tracked in MLflow", where=run, fix=fix)
    if tracked.get("model_uri") is None:
        fix = "train it again while the server answers"
        raise wrong("this training could not log its model to MLflow", where=run, fix=fix)
    return str(tracked["model_uri"])


def _known(trained: Trained) -> str | None:
    """The training's tracking URI, unless its credentials were left out."""
    return None if trained.uri is None or "***" in trained.uri else trained.uri


def _require_finished(stored: StoredRun, allow_interrupted: bool) -> None:
    allowed = ("FINISHED", "KILLED", "FAILED") if allow_interrupted else ("FINISHED",)
    if stored.status not in allowed:
        fix = "wait for its end" if stored.status == "RUNNING" else "or give --allow-interrupted"
        raise wrong(
            "the run did not finish",
            where=f"run {stored.id}",
            expected=" or ".join(allowed),
            found=stored.status,
            fix=fix,
        )


def _prove(registry: Registry, model_uri: str, trained: Trained, verify: Verify) -> Proven:
    """The logged model is complete, is that of the folder, and predicts the same elsewhere.

    Raises:
        UserError: it is not.
    """
    with tempfile.TemporaryDirectory() as folder:
        with registry.requesting(f"cannot read the model {model_uri}"):
            logged = read_logged_model(model_uri, registry.uri, Path(folder))
        _require_complete(logged, model_uri)
        pin = bundle_hash(logged.bundle)
        predictor = load_bundle(logged.bundle)
        _require_same(trained, pin)
        example = to_polars(logged.example, predictor.schema())
        expected = predictor.predict(example)
        difference = prove_model(model_uri, registry.uri, example, expected, verify=verify)
    return Proven(predictor.config, pin, difference)


def _require_complete(logged: LoggedModel, model_uri: str) -> None:
    for part, there in (
        ("signature", logged.signed),
        ("input example", logged.example is not None),
    ):
        if not there:
            fix = "log it with `recsys-mtl train`"
            raise wrong(f"the logged model has no {part}", where=model_uri, fix=fix)


def _require_same(trained: Trained, pin: str) -> None:
    """The training's model folder, if it is here, complete and the one that was logged."""
    if trained.folder is None:
        return
    folder = trained.folder / "model"
    load_bundle(folder)
    if bundle_hash(folder) != pin:
        raise wrong(
            "the model was changed since it was logged",
            where=str(folder),
            expected=f"manifest.json of sha256 {pin}",
            fix="restore the folder, or give the run's id to register what was logged",
        )


def _tags(trained: Trained, stored: StoredRun, pin: str) -> dict[str, str]:
    result = trained.result
    tags = {
        PIN: pin,
        "data_fingerprint": result["data"]["fingerprint"],
        "config_hash": result["config_hash"],
        "recsys_mtl": result["version"],
    }
    if stored.commit is not None:
        tags["git_revision"] = stored.commit
    for task, facts in result["tasks"].items():
        main = kind_of(facts["kind"]).main
        value = trained.metric(task, main)
        if value is not None:
            tags[f"metric/{task}/{main}"] = f"{value:.6g}"
    return tags


def _result(version: Version, registry: Registry, proven: Proven) -> dict[str, Any]:
    return {
        "name": version.name,
        "number": version.number,
        "model_uri": version.source,
        "run_id": version.run_id,
        "tracking_uri": registry.shown,
        "tags": dict(version.tags),
        "largest_difference": proven.difference,
        "card": CARD,
    }
