"""Parts of `recsys-mtl predict`, one a file; recsys_mtl/scoring/predict.py puts them together."""
