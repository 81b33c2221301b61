"""Experiment tracking: a small protocol, MLflow behind it, and the plots that go there."""

from recsys_mtl.tracking.open import open_run
from recsys_mtl.tracking.run import NullRun, PackagedModel, Run

__all__ = ["NullRun", "PackagedModel", "Run", "open_run"]
