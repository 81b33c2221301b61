"""Checkpoints of a training on disk: renamed when complete, checked by sha256, no pickle."""

from recsys_mtl.checkpoints.folder import Checkpoint, Checkpoints, DamagedError
from recsys_mtl.checkpoints.saver import Saver

__all__ = ["Checkpoint", "Checkpoints", "DamagedError", "Saver"]
