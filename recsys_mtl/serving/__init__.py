"""The trained model as a folder and as a function of raw rows.

Nothing here imports mlflow; `recsys_mtl.serving.mlflow_model` logs a bundle to MLflow.
"""

from recsys_mtl.serving.bundle import load_bundle, save_bundle
from recsys_mtl.serving.predictor import Predictor

__all__ = ["Predictor", "load_bundle", "save_bundle"]
