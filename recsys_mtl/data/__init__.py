"""Data: raw rows from files, their split, preprocessing fitted on train, and batches of tensors."""

from recsys_mtl.columns.spec import DataSpec, TableSpec, TaskSpec
from recsys_mtl.data.batch import Batch, concat
from recsys_mtl.data.lanes import BlockedRows, LaneLoader
from recsys_mtl.data.loader import Loader, MemoryLoader, StreamLoader
from recsys_mtl.data.preprocess import Preprocessor

__all__ = [
    "Batch",
    "BlockedRows",
    "DataSpec",
    "LaneLoader",
    "Loader",
    "MemoryLoader",
    "Preprocessor",
    "StreamLoader",
    "TableSpec",
    "TaskSpec",
    "concat",
]
