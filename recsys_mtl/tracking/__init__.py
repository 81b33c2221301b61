"""Experiment tracking: a small protocol, MLflow behind it, and the plots that go there."""

from recsys_mtl.tracking.run import NullRun, PackagedModel, Run, open_run

__all__ = ["NullRun", "PackagedModel", "Run", "open_run"]
