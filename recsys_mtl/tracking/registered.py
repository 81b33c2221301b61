"""Registered models by name, and the list of versions on a logged model's page."""

from __future__ import annotations

import json
import logging
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from recsys_mtl.tracking.mlflow_errors import reason, tracking_errors
from recsys_mtl.tracking.mlflow_store import pages

_VERSIONS = "mlflow.modelVersions"

logger = logging.getLogger(__name__)


def find_name(client: MlflowClient, name: str) -> Any:
    """MLflow's registered model, or None."""
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def find_versions(client: MlflowClient, name: str) -> list[Any]:
    """MLflow's versions of a registered model, without their aliases."""
    quote = '"' if "'" in name else "'"
    return list(pages(client.search_model_versions, filter_string=f"name={quote}{name}{quote}"))


def create_name(client: MlflowClient, name: str) -> None:
    """Make a registered model, unless another process was first."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def link(client: MlflowClient, model_uri: str, made: Any) -> None:
    """Add a version to the tag from which MLflow's page of the logged model lists them."""
    try:
        model = client.get_logged_model(model_uri.removeprefix("models:/"))
        known = json.loads(model.tags.get(_VERSIONS, "[]"))
        linked = json.dumps([*known, {"name": made.name, "version": int(made.version)}])
        client.set_logged_model_tags(model.model_id, {_VERSIONS: linked})
    except tracking_errors() as error:
        logger.warning("the logged model does not show its version: %s", reason(error))
