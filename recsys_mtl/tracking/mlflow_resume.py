"""A run in MLflow that a killed training began, and what it holds already."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

log = logging.getLogger(__name__)


class Resumed:
    """An earlier run of the same training.

    Args:
        client: of the tracking store.
        run_id: of the run.
        experiment_id: of its experiment.
        keys: of the metrics that it has.
    """

    def __init__(
        self, client: MlflowClient, run_id: str, experiment_id: str, keys: Iterable[str]
    ) -> None:
        self.run_id = run_id
        self._client = client
        self._experiment_id = experiment_id
        self._unread = set(keys)
        self._points: set[tuple[str, int]] = set()

    @classmethod
    def find(cls, client: MlflowClient, run_id: str, experiment_id: str) -> Resumed | None:
        """The run, marked as running again; None, with a warning, where the store has it no more.

        Raises:
            MlflowException: the server fails.
        """
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
        if run is None or run.info.lifecycle_stage != "active":
            log.warning("MLflow does not have run %s any more: a new run is begun", run_id)
            return None
        client.update_run(run_id, status="RUNNING")
        return cls(client, run_id, experiment_id, run.data.metrics)

    def send(self, metrics: Sequence[Metric]) -> None:
        """Log the points that the run does not have yet, by name and step."""
        for key in {metric.key for metric in metrics} & self._unread:
            history = self._client.get_metric_history(self.run_id, key)
            self._points |= {(key, point.step) for point in history}
            self._unread.discard(key)
        new = [m for m in metrics if (m.key, m.step) not in self._points]
        if new:
            self._client.log_batch(self.run_id, metrics=new)

    def delete_models(self) -> None:
        """Delete the models that the killed training had logged, or half logged."""
        models = self._client.search_logged_models(
            experiment_ids=[self._experiment_id], filter_string=f"source_run_id = '{self.run_id}'"
        )
        for model in models:
            self._client.delete_logged_model(model.model_id)
