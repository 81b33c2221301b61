"""What MLflow stores of a logged model, on this disk."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.models import Model

from recsys_mtl.errors import wrong
from recsys_mtl.tracking.mlflow_process import pointed


@dataclass(frozen=True)
class LoggedModel:
    """A logged model's parts.

    Attributes:
        bundle: folder of the weights.
        signed: whether it has a signature of inputs and outputs.
        example: its input example, a pandas DataFrame; None without one.
    """

    bundle: Path
    signed: bool
    example: Any


def read_logged_model(model_uri: str, uri: str, into: Path) -> LoggedModel:
    """Fetch a logged model; nothing of it is executed.

    Args:
        model_uri: `models:/m-…`.
        uri: where it is logged.
        into: a folder for its files.

    Raises:
        UserError: it holds no bundle.
    """
    folder = _download(model_uri, uri, into)
    model = Model.load(str(folder))
    example = model.load_input_example(str(folder)) if model.saved_input_example_info else None
    return LoggedModel(
        _bundle(folder / "artifacts", model_uri), model.signature is not None, example
    )


def download_bundle(model_uri: str, uri: str, into: Path) -> None:
    """Fetch the bundle of a logged model into the new folder `into`.

    Raises:
        UserError: it holds no bundle.
    """
    with tempfile.TemporaryDirectory() as folder:
        artifacts = _download(model_uri, uri, Path(folder), "artifacts")
        shutil.copytree(_bundle(artifacts, model_uri), into)


def _download(model_uri: str, uri: str, into: Path, part: str = "") -> Path:
    """Fetch a logged model, or only its folder `part`, which needs its location."""
    location, model = model_uri, re.fullmatch(r"models:/([^/@]+)", model_uri)
    with pointed(uri):
        if model is not None:
            location = MlflowClient(uri).get_logged_model(model[1]).artifact_location
        location = f"{location}/{part}" if part else location
        return Path(
            mlflow.artifacts.download_artifacts(location, dst_path=str(into), tracking_uri=uri)
        )


def _bundle(artifacts: Path, model_uri: str) -> Path:
    for manifest in artifacts.glob("*/manifest.json"):
        return manifest.parent
    raise wrong("not a model of recsys-mtl", where=model_uri, expected="artifacts/*/manifest.json")
