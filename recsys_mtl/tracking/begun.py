"""The run that a job has begun in MLflow, in a file until the run has ended.

An ablation that is killed, or a training before its first checkpoint, leaves its run RUNNING. The
next job in the folder has a run of its own, and ends that one.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from recsys_mtl.files import atomic_write
from recsys_mtl.tracking.mlflow_errors import reason, tracking_errors
from recsys_mtl.tracking.run import Status

log = logging.getLogger(__name__)
NAME = "mlflow_run.json"


class Begun:
    """The file `mlflow_run.json` of a folder that one job at a time works in.

    Args:
        folder: of the job; None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / NAME

    def replace(self, client: MlflowClient, run_id: str) -> None:
        """Keep `run_id`; the run that is there, another one of the same store, is ended."""
        if self._path is None:
            return
        before = read(self._path)
        if before.get("run_id") not in (None, run_id):
            self._end(client, before["run_id"], before["status"])
        self._keep(run_id, "KILLED")

    def ended(self, run_id: str, status: Status, *, sent: bool) -> None:
        """The run has ended; what was not `sent` to the server is reported by the next job."""
        if self._path is None:
            return
        if sent:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        else:
            self._keep(run_id, status)

    def _keep(self, run_id: str, status: Status) -> None:
        assert self._path is not None
        try:
            atomic_write(self._path, json.dumps({"run_id": run_id, "status": status}))
        except OSError as error:
            log.warning("%s could not be written: %s", self._path, error)

    def _end(self, client: MlflowClient, run_id: str, status: Status) -> None:
        try:
            if client.get_run(run_id).info.status == "RUNNING":
                client.set_terminated(run_id, status)
                log.info("the run %s of an earlier job here is now %s", run_id, status)
        except tracking_errors() as error:  # of another store, or deleted
            log.debug("the run %s could not be ended: %s", run_id, reason(error))


def read(path: Path) -> dict[str, Any]:
    """What the file holds; nothing where it is not such a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) and set(content) == {"run_id", "status"} else {}
