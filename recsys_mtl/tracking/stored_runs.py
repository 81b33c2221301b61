"""Runs as MLflow stores them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow.entities import ViewType

from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.tracking.mlflow_store import Store, pages


@dataclass(frozen=True)
class StoredRun:
    """A run in MLflow.

    Attributes:
        id: of the run.
        name: of the run, not unique.
        status: FINISHED, FAILED, KILLED, RUNNING or SCHEDULED.
        started: when.
        metrics: the last value of each.
        tags: of the run.
    """

    id: str
    name: str
    status: str
    started: datetime
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def commit(self) -> str | None:
        """Git revision of the code that ran; None where it is not known."""
        return self.tags.get("mlflow.source.git.commit")


class StoredRuns(Store):
    """The runs of one tracking URI; every method raises `UserError` where it fails.

    Args:
        uri: else `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`; a SQLite file has to exist.
    """

    def get(self, run_id: str) -> StoredRun:
        """One run.

        Raises:
            UserError: there is no such run.
        """
        with self.requesting(f"cannot read the run {run_id}"):
            return _stored(self.client.get_run(run_id))

    def finished(self, experiment: str | None) -> list[StoredRun]:
        """The finished runs of an experiment, or of all.

        Raises:
            UserError: there is no such experiment.
        """
        with self.requesting("cannot read the runs"):
            ids = {e.name: e.experiment_id for e in pages(self.client.search_experiments)}
            if experiment is not None and experiment not in ids:
                what, fix = f"no experiment '{experiment}'", did_you_mean(experiment, ids)
                raise wrong(what, where=self.shown, fix=fix)
            chosen = list(ids.values()) if experiment is None else [ids[experiment]]
            runs = pages(
                self.client.search_runs,
                experiment_ids=chosen,
                filter_string="attributes.status = 'FINISHED'",
                run_view_type=ViewType.ACTIVE_ONLY,
            )
            return [_stored(run) for run in runs]

    def read(self, run_id: str, file: str) -> str | None:
        """The text of a run's file; None where it has no such file."""
        with (
            self.requesting(f"cannot read {file} of the run {run_id}"),
            tempfile.TemporaryDirectory() as folder,
        ):
            if file not in {entry.path for entry in self.client.list_artifacts(run_id)}:
                return None
            path = self.client.download_artifacts(run_id, file, folder)
            return Path(path).read_text(encoding="utf-8")

    def write(self, run_id: str, file: str, text: str) -> None:
        """Store a text as a run's file."""
        with self.requesting(f"cannot store {file} in the run {run_id}"):
            self.client.log_text(run_id, text, file)


def _stored(run: Any) -> StoredRun:
    return StoredRun(
        id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )
