"""Checkpoints of a training on disk: written beside and renamed, checked by sha256, no pickle."""

from recsys_mtl.checkpoints.folder import Checkpoint, Checkpoints, DamagedError
from recsys_mtl.checkpoints.saver import Saver

__all__ = ["Checkpoint", "Checkpoints", "DamagedError", "Saver"]
