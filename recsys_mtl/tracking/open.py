"""Opens the tracked run of a job: one in MLflow, or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recsys_mtl.tracking.run import NullRun, Run


def open_run(
    enabled: bool,
    uri: str | None,
    experiment: str,
    name: str,
    tags: Mapping[str, str] | None = None,
    *,
    spool: Path | None = None,
    run_id: str | None = None,
    begun: Path | None = None,
) -> Run:
    """Open a run before training: a wrong or unreachable server is reported at once.

    MLflow is imported only where a run is tracked.

    Args:
        enabled: False gives a `NullRun`.
        uri: tracking URI; else `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db` in the cwd.
        experiment: experiment name, created where it does not exist.
        name: run name.
        tags: tags of the run.
        spool: folder in which `metrics.jsonl` keeps metrics while the server is away.
        begun: folder whose `mlflow_run.json` names the run until it has ended; the run that is
            named there, of a job that was killed, is ended.
        run_id: a run that was begun before a kill and is continued, without a point twice.

    Raises:
        UserError: the URI is wrong, or its server cannot be reached or written.
    """
    if not enabled:
        return NullRun()
    from recsys_mtl.tracking.mlflow_run import open_mlflow_run  # it takes seconds to import

    return open_mlflow_run(uri, experiment, name, tags or {}, spool, run_id, begun)
