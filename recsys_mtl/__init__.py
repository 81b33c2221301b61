"""recsys_mtl: trains multi-task recommenders and tests whether a transfer method helps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_mtl.estimator import MultiTaskModel

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    # OpenMP reads it when torch is loaded: a thread that waits gives its core away after
    # microseconds. By default it spins for milliseconds, while the one that it waits for has no
    # core: beside any other busy process a step then takes many times as long.
    os.environ["GOMP_SPINCOUNT"] = "1000"

__all__ = ["MultiTaskModel"]


def __getattr__(name: str) -> Any:
    """`MultiTaskModel`, imported when it is asked for: a command that needs none starts sooner."""
    if name == "MultiTaskModel":
        from recsys_mtl.estimator import MultiTaskModel

        return MultiTaskModel
    raise AttributeError(f"module 'recsys_mtl' has no attribute {name!r}")
