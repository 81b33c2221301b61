"""recsys_mtl: trains multi-task recommenders and tests whether a transfer method helps."""

from __future__ import annotations

import os

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    # OpenMP reads it when torch is loaded: a thread that waits gives its core away after
    # microseconds. By default it spins for milliseconds, while the one that it waits for has no
    # core: beside any other busy process a step then takes many times as long.
    os.environ["GOMP_SPINCOUNT"] = "1000"
