"""A run in MLflow; with `recsys_mtl.serving`'s adapter, all that imports mlflow."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NOTE

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.interrupt import Terminated
from recsys_mtl.tracking import mlflow_limits as limits
from recsys_mtl.tracking.begun import Begun
from recsys_mtl.tracking.mlflow_errors import (
    is_temporary,
    opening_errors,
    reason,
    tracking_errors,
)
from recsys_mtl.tracking.mlflow_process import active, patience, silence
from recsys_mtl.tracking.mlflow_resume import Resumed
from recsys_mtl.tracking.run import LoggedData, PackagedModel, Status
from recsys_mtl.tracking.spool import Spool
from recsys_mtl.tracking.uri import (
    artifact_location,
    prepare_artifacts,
    redact,
    redact_uri,
    resolve,
    unusable,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_DRIVERS = {"s3": "boto3", "gs": "google.cloud.storage", "wasbs": "azure.storage.blob"}
_DIGEST_LENGTH = 36  # MLflow takes no longer one
RETRY_SECONDS = 60.0  # pause after a failed write before the server is tried again


def open_mlflow_run(
    uri: str | None,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    spool: Path | None,
    run_id: str | None = None,
    begun: Path | None = None,
) -> MlflowRun:
    """Check the server, find or create the experiment and start a run, or continue `run_id`.

    Where `begun`, a folder, names a run of a killed training, that run is ended.

    Raises:
        UserError: the URI is wrong, or its server cannot be reached or written.
    """
    uri = resolve(uri)
    silence()
    try:
        with patience(retries=0):
            client = MlflowClient(uri)
            experiment_id = _experiment(client, experiment, artifact_location(uri))
            location = client.get_experiment(experiment_id).artifact_location
            prepare_artifacts(uri, location)
            _require_driver(location)
            resumed = None if run_id is None else Resumed.find(client, run_id, experiment_id)
            if resumed is None:
                tags = resolve_tags(dict(tags))
                run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
    except UserError:
        raise
    except opening_errors() as error:
        raise unusable(uri, reason(error)) from None  # the cause would show credentials
    logger.info("tracking run %s in %s", run_id, redact_uri(uri))
    file = Begun(begun)
    file.replace(client, str(run_id))
    return MlflowRun(client, str(run_id), uri, spool, resumed, file, experiment_id)


class MlflowRun:
    """A run in MLflow that outlives its server.

    Writes are queued and sent in order. When a write fails the run continues: one warning is
    logged, metrics also go to `metrics.jsonl` in the spool folder, and the server is tried again
    with the first write that comes `RETRY_SECONDS` later, and at the end. Writes that the server
    refuses for good (an unknown run, a wrong value) are dropped, each with a warning.

    Args:
        client: client of the tracking store.
        run_id: a running run.
        uri: tracking URI of the client.
        spool: folder of `metrics.jsonl`; None keeps waiting metrics in memory only.
        resumed: what the run has from before a kill; None: it is new.
        begun: where the run is named until it has ended.
        experiment_id: of the run.
    """

    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        uri: str,
        spool: Path | None,
        resumed: Resumed | None = None,
        begun: Begun | None = None,
        experiment_id: str | None = None,
    ) -> None:
        self.experiment_id = experiment_id
        self._client = client
        self._id = run_id
        self._uri = uri
        self._spool = None if spool is None else Spool(spool, resumed=resumed is not None)
        self._resumed = resumed
        self._begun = begun or Begun(None)
        self._waiting: deque[Callable[[], object]] = deque()
        self._retry_at = 0.0
        self._ended = False

    @property
    def id(self) -> str:
        """MLflow's run id."""
        return self._id

    @property
    def uri(self) -> str:
        """The tracking URI; it may carry credentials: show it through `redact_uri`."""
        return self._uri

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters in batches; those too long are cut and stored in full in `params.json`."""
        texts = limits.keyed({key: redact(str(value)) for key, value in values.items()})
        params = [Param(key, limits.cut(text)) for key, text in texts.items()]
        for batch in limits.batches(params, limits.PARAMS_PER_REQUEST):
            self._write(partial(self._client.log_batch, self._id, params=batch))
        if any(len(text) > limits.VALUE_LENGTH for text in texts.values()):
            self.text("params.json", json.dumps(texts, indent=1))

    def metrics(
        self, values: Mapping[str, float | None], step: int, *, at: float | None = None
    ) -> None:
        """Log the defined numbers of one step in one request."""
        now = int((time.time() if at is None else at) * 1000)
        defined = {k: float(v) for k, v in values.items() if v is not None and not math.isnan(v)}
        numbers = limits.keyed(defined)
        metrics = [Metric(key, value, now, step) for key, value in numbers.items()]
        for batch in limits.batches(metrics, limits.METRICS_PER_REQUEST):
            if self._resumed is not None:
                self._write(partial(self._resumed.send, batch))
            else:
                self._write(partial(self._client.log_batch, self._id, metrics=batch))
        if self._waiting and self._spool is not None:
            self._spool.add({"step": step, "time": now, "metrics": numbers})

    def text(self, name: str, text: str) -> None:
        """Store `text`, without credentials, as the file `name`."""
        self._write(lambda: self._client.log_text(self._id, redact(text), name), light=False)

    def figure(self, name: str, figure: Figure) -> None:
        """Store a figure as the image file `name`."""
        self._write(lambda: self._client.log_figure(self._id, figure, name), light=False)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Store a file, or a folder's content, under `folder`."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._write(lambda: log(self._id, str(path), folder or None), light=False)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        texts = limits.keyed(values)
        tags = [RunTag(key, limits.cut(redact(value))) for key, value in texts.items()]
        for batch in limits.batches(tags, limits.PARAMS_PER_REQUEST):
            self._write(partial(self._client.log_batch, self._id, tags=batch))

    def describe(self, markdown: str) -> None:
        """Set the run's description, which MLflow's page of the run shows as Markdown."""
        self.tags({MLFLOW_RUN_NOTE: markdown})

    def data(self, data: LoggedData) -> None:
        """Log the data set as MLflow's `Dataset`, as an input in the context `training`."""
        paths = [redact_uri(path) if "://" in path else path for path in data.paths]
        columns = [{"name": name, "type": kind} for name, kind in data.columns.items()]
        dataset = Dataset(
            name=data.name,
            digest=data.fingerprint[:_DIGEST_LENGTH],
            source_type="local" if all("://" not in path for path in paths) else "uri",
            source=json.dumps({"uri": paths[0] if len(paths) == 1 else paths}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(data.profile),
        )
        context = InputTag(MLFLOW_DATASET_CONTEXT, "training")
        inputs = [DatasetInput(dataset, [context])]
        self._write(partial(self._client.log_inputs, self._id, inputs))

    def model(self, name: str, model: PackagedModel) -> str | None:
        """Log a pyfunc from code; None, with a warning, where it could not be logged."""
        if self._resumed is not None:
            self._write(self._resumed.delete_models)
        self._send()
        try:
            with patience(retries=2), active(self._uri, self._id):
                info = mlflow.pyfunc.log_model(
                    name=name,
                    python_model=str(model.code),
                    artifacts={"bundle": str(model.bundle)},
                    code_paths=[str(model.package)],
                    signature=model.signature,
                    input_example=model.example,
                    pip_requirements=list(model.requirements),
                    metadata=dict(model.metadata),
                    step=model.step,
                )
        except tracking_errors() as error:
            logger.warning("the model could not be logged to MLflow: %s", reason(error))
            return None
        return str(info.model_uri)

    def end(self, status: Status) -> None:
        """End the run, once; a warning counts the writes that never reached the server."""
        if self._ended:
            return
        self._ended = True
        self._retry_at = 0.0
        self._write(lambda: self._client.set_terminated(self._id, status))
        self._begun.ended(self._id, status, sent=not self._waiting)
        if self._waiting:
            kept = f"; metrics are in {self._spool.path}" if self._spool else ""
            logger.warning("%d writes never reached MLflow%s", len(self._waiting), kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.end("FINISHED")
        else:
            self.end("KILLED" if issubclass(kind, KeyboardInterrupt | Terminated) else "FAILED")

    def _write(self, write: Callable[[], object], *, light: bool = True) -> None:
        """Queue a write and send the queue; `light` ones have a short timeout."""

        def patient() -> None:
            with patience(retries=1, seconds=10) if light else patience(retries=2):
                write()

        self._waiting.append(patient)
        self._send()

    def _send(self) -> None:
        """Send the queue in order, unless the server failed a moment ago."""
        if time.monotonic() < self._retry_at:
            return
        while self._waiting:
            try:
                self._waiting[0]()
            except tracking_errors() as error:
                if is_temporary(error):
                    self._lost(error)
                    return
                logger.warning("MLflow refused a write: %s", reason(error))
            self._waiting.popleft()

    def _lost(self, error: Exception) -> None:
        first = self._retry_at == 0.0 and not self._ended
        self._retry_at = time.monotonic() + RETRY_SECONDS
        level = logging.WARNING if first else logging.DEBUG
        logger.log(level, "MLflow does not answer, the run continues without: %s", reason(error))


def _require_driver(location: str) -> None:
    """Artifacts that go straight to a store of objects need its client, which MLflow imports late.

    Raises:
        ImportError: it is not installed.
    """
    driver = _DRIVERS.get(urlsplit(location).scheme)
    if driver is not None:
        import_module(driver)


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    """The experiment's id; creation by another process at the same time is no error."""
    known = client.get_experiment_by_name(name)
    if known is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            known = client.get_experiment_by_name(name)
    if known.lifecycle_stage != "active":
        raise wrong(
            f"experiment '{name}' is deleted in MLflow",
            where="tracking.experiment",
            fix=f"choose another name or `mlflow experiments restore -x {known.experiment_id}`",
        )
    return str(known.experiment_id)
