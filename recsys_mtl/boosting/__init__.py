"""Gradient boosting, one model a task: what a network has to beat.

`boost` learns from encoded rows and predicts in the form that metrics judge. `NAMES` are the
baselines: LightGBM with its own defaults, LightGBM with settings chosen on the validation rows, and
scikit-learn's histogram gradient boosting.
"""

from recsys_mtl.boosting.boost import NO_ROWS, Boosted, Predictions, boost
from recsys_mtl.boosting.names import NAMES, WORDS, default_name, require_installed
from recsys_mtl.boosting.rows import labelled

__all__ = [
    "NAMES",
    "NO_ROWS",
    "WORDS",
    "Boosted",
    "Predictions",
    "boost",
    "default_name",
    "labelled",
    "require_installed",
]
