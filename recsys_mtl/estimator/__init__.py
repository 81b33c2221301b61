"""The package in Python: a model that is fitted on data frames, with scikit-learn's manners."""

from recsys_mtl.estimator.evaluation import Evaluation
from recsys_mtl.estimator.model import MultiTaskModel
from recsys_mtl.runs.importance import Importance

__all__ = ["Evaluation", "Importance", "MultiTaskModel"]
